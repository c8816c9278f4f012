"""Side-by-side benchmarks: Tegu and a peer in turn in the same run. Timings are never asserted."""
