"""Classical baselines for ratings: shrunken item means, alone and with a shrunken user bias.

A mean of n values is shrunk by `n / (n + strength)`. The strength is the ratio of the variance within groups to the
variance between groups, estimated on training users by a one-way analysis of variance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.sampling.trials import Trials
from tegu.sim.data.population import Population
from tegu.sim.engine.predictions import Method
from tegu.sim.evaluation.baselines.tuning import for_every_k

__all__ = ["item_mean", "item_mean_user_bias", "item_means", "shrinkage"]

_MIN_BETWEEN = 1e-6  # of the variance within groups; avoids a division by zero if groups do not differ


def shrinkage(values: Array, groups: Array) -> float:
    """Return the strength of shrinkage, as the number of values that the overall mean is worth.

    Args:
        values: `[rows]`.
        groups: int64 `[rows]`, the group of each value; at least one group has several values.
    """
    counts = np.bincount(groups)
    counts, means = counts[counts > 0], (np.bincount(groups, values) / counts.clip(1))[counts > 0]
    rows, number = counts.sum(), len(counts)
    within = (np.square(values).sum() - (counts * np.square(means)).sum()) / (rows - number)
    spread = (counts * np.square(means - values.mean())).sum() / (number - 1)
    size = (rows - np.square(counts).sum() / rows) / (number - 1)
    return float(within / max((spread - within) / size, _MIN_BETWEEN * within))


def item_means(train: Population) -> Array:
    """Return mean ratings `[items]`, shrunk toward the mean of all ratings."""
    items, ratings = train.all_rows()
    ratings = ratings[:, 0].astype(np.float64)
    level, strength = ratings.mean(), shrinkage(ratings, items)
    counts = np.bincount(items, minlength=train.spec.items)
    sums = np.bincount(items, ratings - level, train.spec.items)
    means: Array = level + sums / (counts + strength)
    return means


def item_mean(train: Population, calibration: Population) -> Callable[[int], Method]:
    """Predict an item's mean rating, the same for every user."""
    del calibration
    means = item_means(train)

    def predict(trials: Trials) -> Sequence[Array]:
        return [means[trial.query.x, None] for trial in trials.trials]

    return for_every_k(predict)


def item_mean_user_bias(train: Population, calibration: Population) -> Callable[[int], Method]:
    """Predict an item's mean rating plus the user's bias, the shrunken mean residual on the support."""
    del calibration
    means = item_means(train)
    items, ratings = train.all_rows()
    users = np.repeat(np.arange(len(train)), train.counts)
    strength = shrinkage(ratings[:, 0] - means[items], users)

    def predict(trials: Trials) -> Sequence[Array]:
        biases = [(t.support.y[:, 0] - means[t.support.x]).sum() / (trials.k + strength) for t in trials.trials]
        return [means[t.query.x, None] + bias for t, bias in zip(trials.trials, biases, strict=True)]

    return for_every_k(predict)
