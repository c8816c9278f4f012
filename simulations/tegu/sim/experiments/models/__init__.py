"""Models of the experiments, one a file."""
