"""Choosing how much to adapt at each number of interactions, over a federation.

- `calibrate`: evaluation rounds for validation and calibration
- `schedule`: from the nodes' replies to the schedule
- `strict_schedule`: the same under `risk="strict"`
- `gain_lines`: the evaluation round for the guards' lines
- `guards`: the guards that are tried
"""
