"""Popularity: every user gets the same ranking, by the number of clicks of training users."""

from __future__ import annotations

from collections.abc import Callable

from tegu.sim.data.population import Population
from tegu.sim.engine.predictions import Method
from tegu.sim.evaluation.baselines.tuning import for_every_k
from tegu.sim.experiments.baselines.clicks import shares

__all__ = ["popularity"]


def popularity(train: Population, calibration: Population) -> Callable[[int], Method]:
    """Score items by their clicks per training user, the same for every user."""
    del calibration
    popular = shares(train)
    return for_every_k(lambda trials: [popular] * len(trials.trials))
