"""Naive Bayes: given an item, clicks on other items are independent.

The score of an item is the logarithm of its share of users, plus for each item of the support the logarithm of how much
more often the two were clicked by the same user than by chance. Counts are smoothed by users who click at random. The
number of these and the weight of popularity are tuned.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np

from tegu.core.data.batch import Array
from tegu.sim.data.population import Population
from tegu.sim.engine.predictions import Method
from tegu.sim.experiments.baselines.clicks import Scores, click_matrix, item_to_item, tuned_with_popularity

__all__ = ["log_lifts", "naive_bayes"]

SMOOTHING = (0.3, 3.0, 20.0, 100.0)  # users who click at random
_TRUST = (1.0, 0.5, 0.25)  # in an item of the support: several of them are not independent
_FEW = 0.5  # users who are added to the clicks of every item


def log_lifts(clicks: Array, smoothing: float) -> tuple[Array, Array]:
    """Return the logarithms of shares `[items]` and of lifts `[items of the support, items]`.

    Args:
        clicks: 0 or 1, `[users, items]`.
        smoothing: number of users who click each item at random, for each item of a support.
    """
    count = clicks.sum(0)
    share = (count + _FEW) / (len(clicks) + 2 * _FEW)
    given = (clicks.T @ clicks + smoothing * share) / (count[:, None] + smoothing)
    lifts = np.log(given) - np.log(share)
    np.fill_diagonal(lifts, 0.0)
    return np.log(share), lifts


def naive_bayes(train: Population, calibration: Population) -> Callable[[int], Method]:
    """Score items by their logarithm of probability given the items in a trial's support; arguments as `ease`."""
    return tuned_with_popularity(train, calibration, product(SMOOTHING, _TRUST), _fit)


def _fit(users: Population, setting: tuple[float, float]) -> Scores:
    smoothing, trust = setting
    share, lifts = log_lifts((click_matrix(users) > 0).astype(np.float64), smoothing)
    return item_to_item(trust * lifts, share)
