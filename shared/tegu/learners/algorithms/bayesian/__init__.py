"""Algorithms that give a user several sets of parameters, whose predictions differ where the user's rows say little.

`platipus` draws them from a variational prior, `bayesian_maml` moves particles by Stein variational gradient descent.
Both predict by `mixed_outputs`, each of several with the same weight.
"""
