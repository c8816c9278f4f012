"""Evaluation rounds: validation while training goes on, and early stopping."""
