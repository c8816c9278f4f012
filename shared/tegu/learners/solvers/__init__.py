"""Closed-form solvers."""
