"""The commands of `tegu`, one a file."""
