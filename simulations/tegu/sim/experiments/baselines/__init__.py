"""Classical methods that experiments compare with."""
