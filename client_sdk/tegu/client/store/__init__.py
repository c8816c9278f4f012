"""The durable store of one user's interactions."""
