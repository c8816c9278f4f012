"""Training in simulation: in this process, or on Ray."""
