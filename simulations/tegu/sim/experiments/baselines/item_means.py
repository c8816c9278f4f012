"""The classical baselines for ratings: an item's mean, and a person's own level added to it, both shrunk.

How hard to shrink is told from the training users by a one-way analysis of variance: a mean of n values counts for
`n / (n + strength)`, with the strength the variance within groups over that between them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.sampling.trials import Trials
from tegu.sim.data.population import Population
from tegu.sim.engine.predictions import Method

__all__ = ["item_mean", "item_mean_user_bias", "item_means", "shrinkage"]

_LEAST = 1e-6  # of the variance within: groups that do not differ are shrunk to nothing, and not divided by zero


def shrinkage(values: Array, groups: Array) -> float:
    """For how many values the overall mean counts.

    Args:
        values: `[rows]`.
        groups: int64 `[rows]`, which group each is of; some group has more than one.
    """
    counts = np.bincount(groups)
    counts, means = counts[counts > 0], (np.bincount(groups, values) / counts.clip(1))[counts > 0]
    rows, number = counts.sum(), len(counts)
    within = (np.square(values).sum() - (counts * np.square(means)).sum()) / (rows - number)
    spread = (counts * np.square(means - values.mean())).sum() / (number - 1)
    size = (rows - np.square(counts).sum() / rows) / (number - 1)
    return float(within / max((spread - within) / size, _LEAST * within))


def item_means(train: Population) -> Array:
    """`[items]`: mean ratings, drawn toward the mean of all ratings the fewer there are."""
    items, ratings = train.all_rows()
    ratings = ratings[:, 0].astype(np.float64)
    level, strength = ratings.mean(), shrinkage(ratings, items)
    counts = np.bincount(items, minlength=train.spec.items)
    sums = np.bincount(items, ratings - level, train.spec.items)
    means: Array = level + sums / (counts + strength)
    return means


def item_mean(train: Population) -> Method:
    """An item's mean rating, the same for everyone."""
    means = item_means(train)

    def predict(trials: Trials) -> Sequence[Array]:
        return [means[trial.query.x, None] for trial in trials.trials]

    return predict


def item_mean_user_bias(train: Population) -> Method:
    """An item's mean rating and how far above it the person is, on average, in the support."""
    means = item_means(train)
    items, ratings = train.all_rows()
    people = np.repeat(np.arange(len(train)), train.counts)
    strength = shrinkage(ratings[:, 0] - means[items], people)

    def predict(trials: Trials) -> Sequence[Array]:
        biases = [(t.support.y[:, 0] - means[t.support.x]).sum() / (trials.k + strength) for t in trials.trials]
        return [means[t.query.x, None] + bias for t, bias in zip(trials.trials, biases, strict=True)]

    return predict
