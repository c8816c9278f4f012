"""Reproducible draws of support and query that share no row, input or group."""
