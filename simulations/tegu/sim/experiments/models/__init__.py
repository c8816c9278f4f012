"""Models that experiments share."""
