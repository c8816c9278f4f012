"""Means and standard deviations of training users' rows, which scale the inputs and targets of a default learner."""

from __future__ import annotations

import numpy as np

from tegu.core.data.scaling import Scaling, scaling_of
from tegu.core.sampling.keyed_random import keyed_rng
from tegu.sim.data.population import Population

__all__ = ["scaling_of_users"]

_MAX_USERS = 1000  # enough to estimate means and deviations, and few enough to read


def scaling_of_users(population: Population, seed: int) -> tuple[Scaling | None, Scaling | None]:
    """The scaling of inputs and of targets, estimated from up to 1,000 users; None for ids and for labels.

    Inputs that are one vector per row have one scaling per feature, since features may have different units. Pictures,
    windows and other inputs have one scaling for all their numbers, which share a unit. Each target has its own.

    Args:
        population: training users, and no others.
        seed: decides which users are read if there are more than 1,000.
    """
    chosen = np.arange(len(population))
    if len(population) > _MAX_USERS:
        chosen = np.sort(keyed_rng("standards", seed).choice(len(population), _MAX_USERS, replace=False))
    x, y = population.subset(chosen).all_rows()
    spec = population.spec
    of_x = None if spec.x.dtype == "int64" else scaling_of(x if x.ndim <= 2 else x.reshape(-1))
    return of_x, scaling_of(y) if spec.kind == "regression" else None
