"""Benchmarks that run Tegu and a peer in turn within one run. No test asserts a timing."""
