"""Metrics of one user's predictions, for one draw of the support at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.spec import Kind, Spec
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
        lowest: smallest possible value.
        highest: largest possible value.
        rows: (outputs, y, seen) -> what each query row contributes, float64 `[rows]`; None if it has no such parts. The
            mean over rows is the score, or with `root` its square.
        root: whether the score is the root of the mean of `rows`.
        along: (before, after, parts `[parts]`, y) -> `rows` of `before + part * (after - before)` for each part from 0
            to 1, `[parts, rows]`, faster than one by one; outputs are finite. None if there is no faster way.
    """

    name: str
    higher_is_better: bool
    score: Callable[[Array, Array, Array], float]
    resolution: Callable[[float, Array], float] = _zero
    lowest: float = -math.inf
    highest: float = math.inf
    rows: Callable[[Array, Array, Array], Array] | None = None
    root: bool = False
    along: Callable[[Array, Array, Array, Array], Array] | None = None

    def gain(self, personalised: Array, initialisation: Array) -> Array:
        """The improvement; positive is better for every metric."""
        difference = personalised - initialisation
        return difference if self.higher_is_better else -difference


def _right(outputs: Array, y: Array, seen: Array) -> Array:
    """Whether each row's label is right."""
    del seen
    if np.isnan(outputs).any():
        return np.full(len(y), math.nan)  # argmax would return the index of the NaN
    return np.asarray(outputs.argmax(-1) == y, np.float64)


def _right_along(before: Array, after: Array, parts: Array, y: Array) -> Array:
    """A class with the largest output at both ends has it all the way, for outputs are linear in the part."""
    first = before.argmax(-1)
    moving = np.flatnonzero(first != after.argmax(-1))
    start, change, wanted = before[moving], after[moving] - before[moving], y[moving]
    found = np.repeat(np.asarray(first == y, np.float64)[None], len(parts), 0)
    at_once = max(1, _ENTRIES // max(1, start.size))
    for begin in range(0, len(parts), at_once):
        some = slice(begin, begin + at_once)
        found[some, moving] = (start + parts[some, None, None] * change).argmax(-1) == wanted
    return found


def _accuracy(outputs: Array, y: Array, seen: Array) -> float:
    return float(np.mean(_right(outputs, y, seen)))


def _right_labels(outputs: Array, y: Array, seen: Array) -> Array:
    """The share of each row's labels that is right, where a logit above 0 says 1."""
    del seen
    if np.isnan(outputs).any():
        return np.full(len(y), math.nan)
    return _mean_of_each_row(np.asarray((outputs > 0) == (y > 0), np.float64))


def _right_labels_along(before: Array, after: Array, parts: Array, y: Array) -> Array:
    """A label whose logit has the same sign at both ends has it all the way."""
    first, wanted = before > 0, y > 0
    moving = first != (after > 0)
    start, change = before[moving], after[moving] - before[moving]
    found = np.repeat(np.asarray(first == wanted, np.float64)[None], len(parts), 0)
    found[:, moving] = (start + parts[:, None] * change > 0) == wanted[moving]
    share: Array = found.reshape(*found.shape[:2], -1).mean(-1)
    return share


def _label_accuracy(outputs: Array, y: Array, seen: Array) -> float:
    return float(np.mean(_right_labels(outputs, y, seen)))


def _squared_errors(outputs: Array, y: Array, seen: Array) -> Array:
    del seen
    return _mean_of_each_row(np.square(outputs - y, dtype=np.float64))


def _squared_errors_along(before: Array, after: Array, parts: Array, y: Array) -> Array:
    """A squared error is a parabola in the part."""
    error, change = np.subtract(before, y, dtype=np.float64), np.subtract(after, before, dtype=np.float64)
    start, slope, bend = (_mean_of_each_row(each) for each in (error**2, 2 * error * change, change**2))
    each_part = parts[:, None].astype(np.float64)
    return np.maximum(start + each_part * (slope + each_part * bend), 0.0)  # rounding, where it is nearly 0


def _mse(outputs: Array, y: Array, seen: Array) -> float:
    return float(np.mean(_squared_errors(outputs, y, seen)))


def _rmse(outputs: Array, y: Array, seen: Array) -> float:
    return float(np.sqrt(_mse(outputs, y, seen)))


def _mean_of_each_row(values: Array) -> Array:
    mean: Array = values.reshape(len(values), -1).mean(1)
    return mean


def _recall(outputs: Array, y: Array, seen: Array) -> float:
    """Hits among the top ten unseen items, divided by min(10, query items). Of equal scores the lower id is first."""
    top = _top_items(outputs, seen)
    return math.nan if top is None else len(np.intersect1d(top, y)) / _possible_hits(y)


def _hits(outputs: Array, y: Array, seen: Array) -> Array:
    """What each query item contributes to the recall, times their number; repeated items share a hit."""
    top = _top_items(outputs, seen)
    if top is None:
        return np.full(len(y), math.nan)
    _, item, times = np.unique(y, return_inverse=True, return_counts=True)
    hits: Array = np.isin(y, top) / times[item] * (len(y) / _possible_hits(y))
    return hits


def _top_items(outputs: Array, seen: Array) -> Array | None:
    """The ten unseen items with the highest scores; None if a score is NaN."""
    scores = outputs.astype(np.float64)
    if np.isnan(scores).any():
        return None  # sorting would rank by id
    scores[seen] = -np.inf
    top: Array = np.argsort(-scores, kind="stable")[:_TOP]
    return top


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
        Metric("accuracy", True, _accuracy, _one_label, 0.0, 1.0, _right, along=_right_along),
        Metric(
            "label_accuracy",
            True,
            _label_accuracy,
            _one_of_all_labels,
            0.0,
            1.0,
            _right_labels,
            along=_right_labels_along,
        ),
        Metric("mse", False, _mse, _average_row, 0.0, rows=_squared_errors, along=_squared_errors_along),
        Metric(
            "rmse",
            False,
            _rmse,
            _root_of_average_row,
            0.0,
            rows=_squared_errors,
            root=True,
            along=_squared_errors_along,
        ),
        Metric("recall@10", True, _recall, _one_hit, 0.0, 1.0, _hits),
    )
}

_DEFAULT: dict[Kind, str] = {
    "classification": "accuracy",
    "multilabel": "label_accuracy",
    "regression": "mse",
    "ranking": "recall@10",
}


def default_metric(spec: Spec) -> Metric:
    """The default metric of a problem. Numbers by item id are ratings, whose error is given in their own unit."""
    return METRICS["rmse" if spec.kind == "regression" and spec.items else _DEFAULT[spec.kind]]


def find_metric(name: str) -> Metric:
    """The metric called `name`.

    Raises:
        UnknownNameError: there is none; the message suggests the nearest.
    """
    if name not in METRICS:
        raise UnknownNameError("metric", name, METRICS)
    return METRICS[name]
