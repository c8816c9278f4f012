"""Metrics of one user's predictions, for one draw of the support at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.spec import Kind
from tegu.core.errors import UnknownNameError

__all__ = ["METRICS", "Metric", "default_metric", "find_metric"]

_TOP = 10
_ENTRIES = 1 << 16  # of outputs at once: few enough for a core's cache


def _zero(value: float, y: Array) -> float:
    del value, y
    return 0.0


@dataclass(frozen=True)
class Metric:
    """A metric of one user's predictions.

    Attributes:
        name: as in `metrics.json`.
        higher_is_better: True for accuracies, False for errors.
        score: (outputs, y, seen) -> value; NaN if an output is NaN. For ranking, outputs are scores of all items, `y`
            the query items and `seen` the support items. Otherwise outputs and `y` belong to the query rows, and `seen`
            is empty.
        resolution: (value, y) -> the smallest meaningful change, in the metric's unit: the contribution of one query
            row or item. `value` is that of the initialisation. By default 0: every change counts.
        along: (before, after, parts `[parts]`, y) -> `[parts]`, the score of `before + part * (after - before)` for
            each part from 0 to 1, faster than one by one; outputs are finite. None scores them one by one.
    """

    name: str
    higher_is_better: bool
    score: Callable[[Array, Array, Array], float]
    resolution: Callable[[float, Array], float] = _zero
    lowest: float = -math.inf
    highest: float = math.inf
    along: Callable[[Array, Array, Array, Array], Array] | None = None

    def gain(self, personalised: Array, initialisation: Array) -> Array:
        """The improvement; positive is better for every metric."""
        difference = personalised - initialisation
        return difference if self.higher_is_better else -difference

    def scores_along(self, before: Array, after: Array, parts: Array, y: Array, seen: Array) -> Array:
        """Float64 `[parts]`, the scores of outputs between two others.

        Args:
            before: outputs, scored where a part is 0.
            after: outputs, scored where a part is 1.
            parts: float32 `[parts]`, from 0 to 1.
            y: as in `score`.
            seen: as in `score`.
        """
        if self.along is not None and np.isfinite(before).all() and np.isfinite(after).all():
            return self.along(before, after, parts, y)
        return np.asarray([self.score(before + part * (after - before), y, seen) for part in parts], np.float64)


def _accuracy(outputs: Array, y: Array, seen: Array) -> float:
    del seen
    if np.isnan(outputs).any():
        return math.nan  # argmax would return the index of the NaN
    return float(np.mean(outputs.argmax(-1) == y))


def _accuracy_along(before: Array, after: Array, parts: Array, y: Array) -> Array:
    """A class with the largest output at both ends has it all the way, for outputs are linear in the part."""
    first = before.argmax(-1)
    moving = first != after.argmax(-1)
    start, change, wanted = before[moving], after[moving] - before[moving], y[moving]
    at_once = max(1, _ENTRIES // max(1, start.size))
    right = [
        ((start + parts[begin : begin + at_once, None, None] * change).argmax(-1) == wanted).sum(-1)
        for begin in range(0, len(parts), at_once)
    ]
    share: Array = (np.concatenate(right) + np.count_nonzero((first == y) & ~moving)) / len(y)
    return share


def _label_accuracy(outputs: Array, y: Array, seen: Array) -> float:
    """The share of right labels, where a logit above 0 says 1."""
    del seen
    if np.isnan(outputs).any():
        return math.nan
    return float(np.mean((outputs > 0) == (y > 0)))


def _label_accuracy_along(before: Array, after: Array, parts: Array, y: Array) -> Array:
    """A label whose logit has the same sign at both ends has it all the way."""
    first = before > 0
    moving = first != (after > 0)
    start, change, wanted = before[moving], after[moving] - before[moving], y[moving] > 0
    right = ((start + parts[:, None] * change > 0) == wanted).sum(-1)
    share: Array = (right + np.count_nonzero((first == (y > 0)) & ~moving)) / y.size
    return share


def _mse(outputs: Array, y: Array, seen: Array) -> float:
    del seen
    return float(np.mean(np.square(outputs - y, dtype=np.float64)))


def _rmse(outputs: Array, y: Array, seen: Array) -> float:
    return float(np.sqrt(_mse(outputs, y, seen)))


def _mse_along(before: Array, after: Array, parts: Array, y: Array) -> Array:
    """The error is a parabola in the part."""
    error, change = np.subtract(before, y, dtype=np.float64), np.subtract(after, before, dtype=np.float64)
    along: Array = np.mean(error**2) + parts * (2 * np.mean(error * change) + parts * np.mean(change**2))
    return np.maximum(along, 0.0)  # rounding, where it is nearly 0


def _rmse_along(before: Array, after: Array, parts: Array, y: Array) -> Array:
    root: Array = np.sqrt(_mse_along(before, after, parts, y))
    return root


def _recall(outputs: Array, y: Array, seen: Array) -> float:
    """Hits among the top ten unseen items, divided by min(10, query items). Of equal scores the lower id is first."""
    scores = outputs.astype(np.float64)
    if np.isnan(scores).any():
        return math.nan  # sorting would rank by id
    scores[seen] = -np.inf
    top = np.argsort(-scores, kind="stable")[:_TOP]
    return len(np.intersect1d(top, y)) / _possible_hits(y)


def _one_label(value: float, y: Array) -> float:
    del value
    return 1 / len(y)


def _one_of_all_labels(value: float, y: Array) -> float:
    del value
    return 1 / y.size


def _average_row(value: float, y: Array) -> float:
    """The contribution of one average row to a mean of squares."""
    return value / len(y)


def _root_of_average_row(value: float, y: Array) -> float:
    """The same change as `_average_row` to first order: d rmse = d mse / (2 rmse)."""
    return value / (2 * len(y))


def _one_hit(value: float, y: Array) -> float:
    del value
    return 1 / _possible_hits(y)


def _possible_hits(y: Array) -> int:
    return min(_TOP, len(np.unique(y)))


METRICS = {
    metric.name: metric
    for metric in (
        Metric("accuracy", True, _accuracy, _one_label, 0.0, 1.0, _accuracy_along),
        Metric("label_accuracy", True, _label_accuracy, _one_of_all_labels, 0.0, 1.0, _label_accuracy_along),
        Metric("mse", False, _mse, _average_row, 0.0, along=_mse_along),
        Metric("rmse", False, _rmse, _root_of_average_row, 0.0, along=_rmse_along),
        Metric("recall@10", True, _recall, _one_hit, 0.0, 1.0),
    )
}

_DEFAULT: dict[Kind, str] = {
    "classification": "accuracy",
    "multilabel": "label_accuracy",
    "regression": "mse",
    "ranking": "recall@10",
}


def default_metric(kind: Kind) -> Metric:
    """The default metric of a kind of problem."""
    return METRICS[_DEFAULT[kind]]


def find_metric(name: str) -> Metric:
    """The metric called `name`.

    Raises:
        UnknownNameError: there is none; the message suggests the nearest.
    """
    if name not in METRICS:
        raise UnknownNameError("metric", name, METRICS)
    return METRICS[name]
