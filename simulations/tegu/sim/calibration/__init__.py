"""Calibration in simulation, batched over users."""
