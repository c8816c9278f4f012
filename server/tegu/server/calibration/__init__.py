"""Choosing how much to adapt for each number of interactions, over a federation."""
