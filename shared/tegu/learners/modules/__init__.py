"""What is done with a `torch.nn.Module` before a learner uses it."""
