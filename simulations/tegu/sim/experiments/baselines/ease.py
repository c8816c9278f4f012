"""EASE: a linear item-to-item model in closed form.

Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data", arXiv:1905.03375. To fit
it, the server must see every user's clicks: it shows what personalisation without privacy achieves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.sampling.trials import Trials
from tegu.sim.data.population import Population
from tegu.sim.engine.predictions import Method
from tegu.sim.evaluation.baselines.tuning import for_every_k

__all__ = ["ease", "item_weights"]

PENALTY = 150.0  # fixed for all data sets and seeds


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
    """Fit the weights; score items by the sum of their weights from the items in a trial's support.

    Args:
        train: training users of a ranking; the dense matrix `[users, items]` must fit into memory.
        calibration: not used.
    """
    del calibration
    clicks = np.zeros((len(train), train.spec.items))
    items, given = train.all_rows()
    np.add.at(clicks, (np.repeat(np.arange(len(train)), train.counts), items), given)
    weights = item_weights(clicks, PENALTY)

    def predict(trials: Trials) -> Sequence[Array]:
        return [trial.support.y @ weights[trial.support.x] for trial in trials.trials]

    return for_every_k(predict)
