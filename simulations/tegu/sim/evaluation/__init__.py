"""Evaluation on held-out users.

heldout         results of a run and its baselines        baselines       reference methods on the same users
curve           figures for one number of interactions    bootstrap       confidence interval of a mean over users
reliability     calibration of a classifier's confidence  storage_cost    loss from storing parameters in fewer bytes
drift_replay    users whose preferences change            seeds           means over runs with different seeds
"""
