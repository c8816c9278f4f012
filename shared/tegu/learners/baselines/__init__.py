"""Learners to compare with: federated training without meta-learning, and none at all."""
