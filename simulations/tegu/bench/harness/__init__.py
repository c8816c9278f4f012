"""How two programs are compared: processes, pairs of runs, agreement of results, plots."""
