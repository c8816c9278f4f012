"""Convolutions and their gradients: minimal filtering, and products with unfolded windows."""
