"""What a user has and a model takes: rows, batches, parameter trees, specs."""
