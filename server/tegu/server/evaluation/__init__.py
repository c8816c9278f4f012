"""Evaluation of parameters on users who do not train them.

- `round`: one evaluation round over the nodes
- `validation`: the metric of users who do not train, during training
- `early_stopping`: when a run stops, and which round it keeps
- `decline`: whether the validation figure has clearly fallen from its best
"""
