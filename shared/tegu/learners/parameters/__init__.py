"""Forms that parameters take while a user adapts."""
