"""How a benchmark compares two implementations: worker processes, paired runs, agreement of results, plots."""
