"""EASE: a linear item-to-item model in closed form.

Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data", arXiv:1905.03375. To fit it, the server must see
every user's clicks: it shows what personalisation without privacy achieves. The penalty, centring by item means and the
weight of popularity are tuned.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np

from tegu.core.data.batch import Array
from tegu.sim.data.population import Population
from tegu.sim.engine.predictions import Method
from tegu.sim.experiments.baselines.clicks import Scores, click_matrix, item_to_item, tuned_with_popularity

__all__ = ["PENALTIES", "ease", "item_weights"]

PENALTIES = (30.0, 100.0, 400.0, 1000.0)


def item_weights(clicks: Array, penalty: float) -> Array:
    """Return `[items, items]`: the B with a zero diagonal that minimises |X - X B|^2 + penalty |B|^2.

    Args:
        clicks: X, `[users, items]`.
        penalty: positive.
    """
    inverse = np.linalg.inv(clicks.T @ clicks + penalty * np.eye(clicks.shape[1]))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return np.asarray(weights)


def ease(train: Population, calibration: Population) -> Callable[[int], Method]:
    """Score items by the sum of their weights from the items in a trial's support.

    Args:
        train: training users of a ranking; matrices `[users, items]` and `[items, items]` must fit into memory.
        calibration: users that tune.
    """
    return tuned_with_popularity(train, calibration, product(PENALTIES, (False, True)), _fit)


def _fit(users: Population, setting: tuple[float, bool]) -> Scores:
    penalty, centred = setting
    clicks = click_matrix(users)
    mean = clicks.mean(0) * centred
    weights = item_weights(clicks - mean, penalty)
    return item_to_item(weights, mean - mean @ weights)
