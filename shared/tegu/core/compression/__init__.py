"""Parameters and updates in fewer bytes: float16 and int8, with error feedback."""
