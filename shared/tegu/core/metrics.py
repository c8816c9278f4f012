"""What a prediction is judged by, one user and one draw at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.spec import Kind
from tegu.core.errors import UnknownNameError

__all__ = ["METRICS", "Metric", "default_metric", "find_metric"]

TOP = 10


def _exact(figure: float, y: Array) -> float:
    del figure, y
    return 0.0


@dataclass(frozen=True)
class Metric:
    """A figure for one user.

    Attributes:
        name: as in `metrics.json`.
        higher_is_better: which way is better.
        score: (outputs, y, seen) -> the figure; NaN where an output is. For ranking, outputs are the scores of all
            items, `y` the held-back items and `seen` the support's; otherwise outputs and `y` are those of the query
            rows, and `seen` is empty.
        resolution: (figure, y) -> the least change of the figure that means anything, in the figure's own unit: what
            one query row, or one held-back item, makes of it. `figure` is the initialisation's. Zero, where it is not
            given: every change counts.
    """

    name: str
    higher_is_better: bool
    score: Callable[[Array, Array, Array], float]
    resolution: Callable[[float, Array], float] = _exact

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
    return len(np.intersect1d(top, y)) / _possible_hits(y)


def _one_answer(figure: float, y: Array) -> float:
    del figure
    return 1 / len(y)


def _typical_row(figure: float, y: Array) -> float:
    """A mean of squares without one typical row's share."""
    return figure / len(y)


def _root_of_typical_row(figure: float, y: Array) -> float:
    """The same change as `_typical_row` to first order: d rmse = d mse / (2 rmse)."""
    return figure / (2 * len(y))


def _one_hit(figure: float, y: Array) -> float:
    del figure
    return 1 / _possible_hits(y)


def _possible_hits(y: Array) -> int:
    return min(TOP, len(np.unique(y)))


METRICS = {
    metric.name: metric
    for metric in (
        Metric("accuracy", True, _accuracy, _one_answer),
        Metric("mse", False, _mse, _typical_row),
        Metric("rmse", False, _rmse, _root_of_typical_row),
        Metric("recall@10", True, _recall, _one_hit),
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
