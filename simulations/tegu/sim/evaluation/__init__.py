"""Evaluation on held-out users."""
