"""Classical baselines for ratings: shrunken item means, alone and with a shrunken user bias.

A mean of n values is shrunk by `n / (n + strength)`. The strength is the ratio of the variance within groups to the
variance between groups, estimated on training users by a one-way analysis of variance. Users who are not
held out choose a factor on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.metrics import METRICS
from tegu.core.sampling.trials import Trials
from tegu.sim.data.population import Population
from tegu.sim.engine.predictions import Method
from tegu.sim.evaluation.baselines.tuning import tune_per_k

__all__ = ["item_mean", "item_mean_user_bias", "item_means", "shrinkage"]

_FACTORS = (1.0, 0.3, 3.0)  # on the estimated strengths
_LEAST = 1e-9  # avoids 0 / 0 for an item without ratings
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


def item_means(train: Population, factor: float = 1.0) -> Array:
    """Return mean ratings `[items]`, shrunk toward the mean of all ratings.

    Args:
        train: training users.
        factor: by which the estimated strength of the shrinkage is multiplied.
    """
    items, ratings = train.all_rows()
    ratings = ratings[:, 0].astype(np.float64)
    level, strength = ratings.mean(), factor * shrinkage(ratings, items)
    counts = np.bincount(items, minlength=train.spec.items)
    sums = np.bincount(items, ratings - level, train.spec.items)
    means: Array = level + sums / (counts + strength).clip(_LEAST)
    return means


def item_mean(train: Population, calibration: Population) -> Callable[[int], Method]:
    """Predict an item's mean rating, the same for every user."""

    def fit(users: Population, factor: float) -> Method:
        means = item_means(users, factor)
        return lambda trials: [means[trial.query.x, None] for trial in trials.trials]

    return tune_per_k(train, calibration, _FACTORS, fit, METRICS["rmse"])


def item_mean_user_bias(train: Population, calibration: Population) -> Callable[[int], Method]:
    """Predict an item's mean rating plus the user's bias, the shrunken mean residual on the support."""

    def fit(users: Population, factors: tuple[float, float]) -> Method:
        means = item_means(users, factors[0])
        items, ratings = users.all_rows()
        raters = np.repeat(np.arange(len(users)), users.counts)
        strength = factors[1] * shrinkage(ratings[:, 0] - means[items], raters)

        def predict(trials: Trials) -> Sequence[Array]:
            above = [(trial.support.y[:, 0] - means[trial.support.x]).sum() for trial in trials.trials]
            biases = [each / (trials.k + strength) for each in above]
            return [means[t.query.x, None] + bias for t, bias in zip(trials.trials, biases, strict=True)]

        return predict

    pairs = [(item, user) for item in _FACTORS for user in _FACTORS]
    return tune_per_k(train, calibration, pairs, fit, METRICS["rmse"])
