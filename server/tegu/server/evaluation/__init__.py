"""Evaluation of parameters on users who do not train them.

- `round`: one evaluation round over the nodes
- `validation`: evaluation rounds during training, and early stopping
- `decline`: whether the validation figure has clearly fallen from its best
"""
