"""What a prediction is judged by, one user and one draw at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tegu.core.batch import Array
from tegu.core.errors import UnknownNameError
from tegu.core.spec import Kind

__all__ = ["METRICS", "Metric", "default_metric", "find_metric"]

TOP = 10


@dataclass(frozen=True)
class Metric:
    """A figure for one user.

    Attributes:
        name: as in `metrics.json`.
        higher_is_better: which way is better.
        score: (outputs, y, seen) -> the figure; NaN where an output is. For ranking, outputs are the scores of all
            items, `y` the held-back items and `seen` the support's; otherwise outputs and `y` are those of the query
            rows, and `seen` is empty.
    """

    name: str
    higher_is_better: bool
    score: Callable[[Array, Array, Array], float]

    def gain(self, personalised: Array, initialisation: Array) -> Array:
        """How much better, positive for better whatever the metric."""
        difference = personalised - initialisation
        return difference if self.higher_is_better else -difference


def _accuracy(outputs: Array, y: Array, seen: Array) -> float:
    del seen
    if np.isnan(outputs).any():
        return math.nan  # argmax would name the NaN's class
    return float(np.mean(outputs.argmax(-1) == y))


def _mse(outputs: Array, y: Array, seen: Array) -> float:
    del seen
    return float(np.mean(np.square(outputs - y, dtype=np.float64)))


def _rmse(outputs: Array, y: Array, seen: Array) -> float:
    return float(np.sqrt(_mse(outputs, y, seen)))


def _recall(outputs: Array, y: Array, seen: Array) -> float:
    """Hits among the top ten unseen items, over min(10, items held back); ties go to the lower id."""
    scores = outputs.astype(np.float64)
    if np.isnan(scores).any():
        return math.nan  # sorting would recommend by id
    scores[seen] = -np.inf
    top = np.argsort(-scores, kind="stable")[:TOP]
    return len(np.intersect1d(top, y)) / min(TOP, len(np.unique(y)))


METRICS = {
    metric.name: metric
    for metric in (
        Metric("accuracy", True, _accuracy),
        Metric("mse", False, _mse),
        Metric("rmse", False, _rmse),
        Metric("recall@10", True, _recall),
    )
}

_DEFAULT: dict[Kind, str] = {"classification": "accuracy", "regression": "mse", "ranking": "recall@10"}


def default_metric(kind: Kind) -> Metric:
    """The usual metric of a kind of problem."""
    return METRICS[_DEFAULT[kind]]


def find_metric(name: str) -> Metric:
    """The metric called `name`.

    Raises:
        UnknownNameError: there is none; the message names the nearest.
    """
    if name not in METRICS:
        raise UnknownNameError("metric", name, METRICS)
    return METRICS[name]
