"""Algorithms that train an initialisation from which plain gradient steps adapt well.

`maml` has MAML and its first-order variant, FOMAML. Reptile, the default, is `tegu.learners.algorithms.reptile`.
"""
