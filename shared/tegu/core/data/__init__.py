"""Rows, batches, parameter trees, and the spec of a model's inputs and targets."""
