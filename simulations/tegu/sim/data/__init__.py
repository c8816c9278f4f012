"""Populations, and the cohorts and trials that are drawn from them."""
