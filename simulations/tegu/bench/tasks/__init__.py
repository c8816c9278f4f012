"""The tasks that benchmarks measure: data, model and training, the same for Tegu and every peer."""
