"""Adaptation by gradient steps on the support.

`gradient_steps` is the inner loop, `dual_steps` its dual form for linear layers, `query_gradient` derives updates from
the query loss, and `optimisers` finds optimiser classes by name.
"""
