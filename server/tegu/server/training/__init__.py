"""Training rounds.

- `plan`: every setting of a run; `calibration_plan` is its part on calibration, `automatic` fills in what is None
- `run_folder`, `run_record`: which run a folder of checkpoints holds
- `frozen`: how a plan sets its own fields
- `strategy`: Flower's strategy: cohorts, aggregation, validation
- `outer_optimiser`: the optimiser that applies the mean update
- `cross_fitting`: one training without each fold of users, and one with all users
- `checkpoint`: the state after a round, as a file
"""
