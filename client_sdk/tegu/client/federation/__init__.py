"""The device in a federation: updates and evaluations on its own rows."""
