"""Implicit ALS in one place: item vectors from all users' clicks, by alternating closed forms.

Hu, Koren, Volinsky 2008, "Collaborative Filtering for Implicit Feedback Datasets". Factors, the weight of unseen items,
the ridge and the weight of popularity are tuned.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.confidence import confidence
from tegu.core.sampling.keyed_random import keyed_rng
from tegu.sim.data.population import Population
from tegu.sim.engine.predictions import Method
from tegu.sim.experiments.baselines.clicks import Scores, tuned_with_popularity

__all__ = ["SETTINGS", "AlsSetting", "als", "als_scores", "item_vectors"]

_ITERATIONS = 8


class AlsSetting(NamedTuple):
    """Length of the vectors, weight of an unseen item, and weight of the vectors' squared length."""

    factors: int
    unseen: float
    ridge: float


SETTINGS = (
    AlsSetting(64, 0.1, 5.0),
    AlsSetting(64, 0.1, 15.0),
    AlsSetting(64, 0.3, 5.0),
    AlsSetting(32, 0.1, 5.0),
    AlsSetting(16, 0.1, 5.0),
)


def item_vectors(users: Population, setting: AlsSetting) -> Array:
    """Vectors `[items, factors]`, float64."""
    items, given = users.all_rows()
    owner, given = np.repeat(np.arange(len(users)), users.counts), confidence(given.astype(np.float64))
    by_item = np.argsort(items, kind="stable")
    user_ends = np.concatenate([[0], np.cumsum(users.counts)])
    item_ends = np.concatenate([[0], np.cumsum(np.bincount(items, minlength=users.spec.items))])
    vectors = 0.1 * keyed_rng("als", 0).standard_normal((users.spec.items, min(setting.factors, users.spec.items)))
    for _ in range(_ITERATIONS):
        tastes = _solved(vectors, items, given, user_ends, setting)
        vectors = _solved(tastes, owner[by_item], given[by_item], item_ends, setting)
    return vectors


def als(train: Population, calibration: Population) -> Callable[[int], Method]:
    """Score items by the product of their vectors with the user's, in closed form; arguments as `ease`."""
    return tuned_with_popularity(train, calibration, SETTINGS, als_scores)


def als_scores(users: Population, setting: AlsSetting) -> Scores:
    """Scores of all items by the closed form of a user's vector, with item vectors from these users."""
    vectors = item_vectors(users, setting)
    shared = _shared(vectors, setting)

    def scores(items: Array, given: Array) -> Array:
        found: Array = vectors @ _solve(shared, vectors[items], given, setting.unseen)
        return found

    return scores


def _solved(vectors: Array, columns: Array, given: Array, ends: Array, setting: AlsSetting) -> Array:
    """For each row of a sparse matrix, whose entries lie between two `ends`, the best vector."""
    shared = _shared(vectors, setting)
    rows = [
        _solve(shared, vectors[columns[first:last]], given[first:last], setting.unseen)
        for first, last in pairwise(ends.tolist())
    ]
    return np.stack(rows)


def _shared(vectors: Array, setting: AlsSetting) -> Array:
    found: Array = setting.unseen * vectors.T @ vectors + setting.ridge * np.eye(vectors.shape[1])
    return found


def _solve(shared: Array, vectors: Array, given: Array, unseen: float) -> Array:
    weights = given - unseen * np.minimum(given, 1)
    return np.asarray(np.linalg.solve(shared + (vectors.T * weights) @ vectors, given @ vectors))
