"""Adapting by gradient steps on the support."""
