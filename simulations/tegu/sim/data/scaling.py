"""What people's numbers are like, so that a module of default settings can have them around 0."""

from __future__ import annotations

import numpy as np

from tegu.core.data.scaling import Scaling, scaling_of
from tegu.core.sampling.keyed_random import keyed_rng
from tegu.sim.data.population import Population

__all__ = ["standards_of"]

_PEOPLE = 1000  # enough to know means and spreads, and few enough to read


def standards_of(people: Population, seed: int) -> tuple[Scaling | None, Scaling | None]:
    """Of inputs and of targets, by up to 1,000 people; None for ids and labels.

    Of inputs that are one vector a row every feature has its own, for they may have different units; pictures, windows
    and other inputs have one for all their numbers, which are of a kind. Every target has its own.

    Args:
        people: training users, never others.
        seed: decides which people, where there are more.
    """
    asked = np.arange(len(people))
    if len(people) > _PEOPLE:
        asked = np.sort(keyed_rng("standards", seed).choice(len(people), _PEOPLE, replace=False))
    x, y = people.subset(asked).all_rows()
    spec = people.spec
    of_x = None if spec.x.dtype == "int64" else scaling_of(x if x.ndim <= 2 else x.reshape(-1))
    return of_x, scaling_of(y) if spec.kind == "regression" else None
