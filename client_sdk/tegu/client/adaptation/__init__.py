"""Adapting to one user, and the report of it."""
