"""The benchmarks of `tegu bench`, one a file."""
