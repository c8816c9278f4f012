"""Training rounds: the plan, the strategy, the outer optimiser, checkpoints."""
