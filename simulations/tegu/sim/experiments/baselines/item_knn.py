"""Item neighbours: items are alike whose clicks come from the same users.

Sarwar et al. 2001, "Item-Based Collaborative Filtering Recommendation Algorithms". The cosine of two items' clicks is
shrunk towards 0 where few users clicked them. The shrinkage and the weight of popularity are tuned.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tegu.core.data.batch import Array
from tegu.sim.data.population import Population
from tegu.sim.engine.predictions import Method
from tegu.sim.experiments.baselines.clicks import Scores, click_matrix, item_to_item, tuned_with_popularity

__all__ = ["item_knn", "similarities"]

SHRINKAGES = (1.0, 10.0, 50.0, 200.0)


def similarities(clicks: Array, shrinkage: float) -> Array:
    """Return `[items, items]`: cosines of the columns of `clicks`, with `shrinkage` added to the denominator.

    Args:
        clicks: `[users, items]`.
        shrinkage: above 0.
    """
    both = clicks.T @ clicks
    length = np.sqrt(np.diag(both))
    found = both / (np.outer(length, length) + shrinkage)
    np.fill_diagonal(found, 0.0)
    return np.asarray(found)


def item_knn(train: Population, calibration: Population) -> Callable[[int], Method]:
    """Score items by the sum of their similarities to the items in a trial's support; arguments as `ease`."""
    return tuned_with_popularity(train, calibration, SHRINKAGES, _fit)


def _fit(users: Population, shrinkage: float) -> Scores:
    return item_to_item(similarities(click_matrix(users), shrinkage))
