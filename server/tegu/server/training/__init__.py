"""Training rounds.

- `plan`: every setting of a run
- `strategy`: Flower's strategy: cohorts, aggregation, validation
- `outer_optimiser`: the optimiser that applies the mean update
- `cross_fitting`: one training without each fold of users, and one with all users
- `checkpoint`: the state after a round, as a file
"""
