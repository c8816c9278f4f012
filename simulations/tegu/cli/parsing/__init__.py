"""What the command line reads: CSV files, keys, amounts of memory."""
