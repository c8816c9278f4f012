"""What few query rows do to squared gains.

The gain of a user is a mean over query rows. Its square is larger on average than that of the user's lasting gain, by
the variance of the mean. The products of *different* rows have no such excess: their mean is the square of the lasting
gain, if rows are independent given the user.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tegu.core.calibration.guard import blend_outputs
from tegu.core.data.batch import Array
from tegu.core.metrics import Metric
from tegu.core.sampling.trials import Trials, trial_scores

__all__ = [
    "Gains",
    "QueryRows",
    "gains_along",
    "gains_over",
    "query_rows",
    "row_gains",
    "row_values",
    "squares_less_noise",
]

_MOST_SPREAD = 0.75  # beyond it nearly all weight is on one unit, which leaves too few products


class QueryRows(NamedTuple):
    """Where the query rows of all trials belong. A unit is a row, or rows that belong together, in any trial of a user.

    Attributes:
        trial: `[rows]`, index of the trial.
        size: `[trials]`, number of query rows.
        weight: `[rows]`, share of the user's gain: those of one user add up to 1.
        unit: `[rows]`, index of the unit.
        user: `[units]`, index of the user.
        spread: `[users]`, sum of the squared weights of the user's units.
    """

    trial: Array
    size: Array
    weight: Array
    unit: Array
    user: Array
    spread: Array


class Gains(NamedTuple):
    """Gains over the initialisation.

    Attributes:
        trials: `[trials]`.
        lasting: `[users]`, squared gains less noise; None where a metric is not a mean over query rows, or where it is
            not known which rows these are.
    """

    trials: Array
    lasting: Array | None


def gains_over(
    trials: Trials, before: Sequence[Array], scores: Array, metric: Metric
) -> Callable[[Sequence[Array]], Gains]:
    """From outputs of adapted models to their gains.

    Args:
        trials: that were predicted, at least one, ordered by user.
        before: `[trials]` of outputs of the initialisation.
        scores: `[trials]`, their metric.
        metric: to compute.
    """
    rows, of_rows = query_rows(trials), metric.rows
    if rows is None or of_rows is None:
        return lambda outputs: Gains(metric.gain(trial_scores(trials, outputs, metric), scores), None)
    values = row_values(trials, before, of_rows)

    def of(outputs: Sequence[Array]) -> Gains:
        gains = row_gains(rows, values, row_values(trials, outputs, of_rows), metric)
        return Gains(np.bincount(rows.trial, gains) / rows.size, squares_less_noise(rows, gains))

    return of


def gains_along(
    trials: Trials, before: Sequence[Array], scores: Array, metric: Metric
) -> Callable[[Sequence[Array], Array], Iterator[Gains]]:
    """From the outputs of adapted models, and parts `[parts, trials]` of the way to them, to the gains at each part.

    The arguments are those of `gains_over`.
    """
    rows, of_rows, along = query_rows(trials), metric.rows, metric.along
    if rows is None or of_rows is None or along is None:
        gains_of = gains_over(trials, before, scores, metric)
        return lambda after, parts: (gains_of(blend_outputs(before, after, part)) for part in parts)
    values = row_values(trials, before, of_rows)

    def of(after: Sequence[Array], parts: Array) -> Iterator[Gains]:
        for found in _values_along(trials, before, after, parts, of_rows, along):
            gains = row_gains(rows, values, found, metric)
            yield Gains(np.bincount(rows.trial, gains) / rows.size, squares_less_noise(rows, gains))

    return of


def _values_along(
    trials: Trials,
    before: Sequence[Array],
    after: Sequence[Array],
    parts: Array,
    of_rows: Callable[[Array, Array, Array], Array],
    along: Callable[[Array, Array, Array, Array], Array],
) -> Array:
    """As `row_values`, at each part of the way from `before` to `after`, `[parts, rows of all trials]`."""

    def of_trial(a: Array, b: Array, own: Array, y: Array) -> Array:
        if np.isfinite(a).all() and np.isfinite(b).all():
            return along(a, b, own, y)
        return np.stack([of_rows(a + part * (b - a), y, np.zeros(0, np.int64)) for part in own])

    each = zip(trials.trials, before, after, parts.astype(np.float32).T, strict=True)
    return np.concatenate(
        [of_trial(a[: len(trial.query.y)], b[: len(trial.query.y)], own, trial.query.y) for trial, a, b, own in each],
        1,
    )


def query_rows(trials: Trials) -> QueryRows | None:
    """The query rows of trials; None if some trial does not know which of the user's rows it has.

    Args:
        trials: at least one, ordered by user.
    """
    if any(trial.units is None for trial in trials.trials):
        return None
    size = np.asarray([len(trial.query.y) for trial in trials.trials])
    _, owner, draws = np.unique([trial.user for trial in trials.trials], return_inverse=True, return_counts=True)
    trial = np.repeat(np.arange(len(size)), size)
    weight = 1 / (draws[owner] * size)[trial]
    named = np.stack([owner[trial], np.concatenate([each.units for each in trials.trials if each.units is not None])])
    units, unit = np.unique(named, axis=1, return_inverse=True)
    unit, user = unit.reshape(-1), units[0]
    spread = np.bincount(user, np.square(np.bincount(unit, weight)))
    return QueryRows(trial, size, weight, unit, user, spread)


def row_values(
    trials: Trials, outputs: Sequence[Array] | Array, of_rows: Callable[[Array, Array, Array], Array]
) -> Array:
    """What each query row contributes to the metric of its trial, `[rows of all trials]`.

    Args:
        trials: that were predicted.
        outputs: as in `tegu.core.sampling.trials.trial_scores`.
        of_rows: `Metric.rows`.
    """
    ranking, no_items = trials.spec.kind == "ranking", np.zeros(0, np.int64)
    return np.concatenate(
        [
            of_rows(output, trial.query.x, trial.support.x)
            if ranking
            else of_rows(output[: len(trial.query.y)], trial.query.y, no_items)
            for trial, output in zip(trials.trials, outputs, strict=True)
        ]
    )


def row_gains(rows: QueryRows, before: Array, after: Array, metric: Metric) -> Array:
    """The gain of each query row, `[rows]`: its mean over a trial's rows is the trial's gain.

    A difference of roots is the difference of their squares, divided by the sum of the roots.

    Args:
        rows: of the trials.
        before: `[rows]`, from `row_values`, without adapting.
        after: `[rows]`, the same with it.
        metric: of the values.
    """
    gain = metric.gain(after, before)
    if not metric.root:
        return gain
    roots = [np.sqrt(np.bincount(rows.trial, values) / rows.size) for values in (before, after)]
    divided: Array = gain / np.maximum(roots[0] + roots[1], 1e-300)[rows.trial]
    return divided


def squares_less_noise(rows: QueryRows, gains: Array) -> Array:
    """The square of each user's lasting gain without bias, `[users]`: the mean product of two different units.

    Where nearly all of a user's weight is on one unit it is the square as observed, which is too large on average.

    Args:
        rows: of the trials.
        gains: `[rows]`, from `row_gains`.
    """
    parts = np.bincount(rows.unit, rows.weight * gains)
    squared = np.square(np.bincount(rows.user, parts))
    left = (squared - np.bincount(rows.user, np.square(parts))) / np.maximum(1 - rows.spread, 1 - _MOST_SPREAD)
    found: Array = np.where(rows.spread > _MOST_SPREAD, squared, left)
    return found
