"""Baselines without meta-learning.

`fedavg` and `fedsgd` train one model for all users; `local_only` trains one model per user from scratch.
"""
