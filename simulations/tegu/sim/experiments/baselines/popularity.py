"""Popularity: every user gets the same ranking, by the number of clicks among training users."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.sampling.trials import Trials
from tegu.sim.data.population import Population
from tegu.sim.engine.predictions import Method
from tegu.sim.evaluation.baselines.tuning import for_every_k

__all__ = ["popularity"]


def popularity(train: Population, calibration: Population) -> Callable[[int], Method]:
    """Score items by their number of clicks among training users, the same for every user."""
    del calibration
    counts = np.bincount(train.all_rows()[0], minlength=train.spec.items).astype(np.float64)

    def predict(trials: Trials) -> Sequence[Array]:
        return [counts] * len(trials.trials)

    return for_every_k(predict)
