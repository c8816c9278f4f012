"""What few query rows do to squared gains.

The gain of a user is a mean over query rows. Its square is larger on average than that of the user's lasting gain, by
the variance of the mean. The products of *different* rows have no such excess: their mean is the square of the lasting
gain, if rows are independent given the user.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.metrics import Metric
from tegu.core.sampling.trials import Trials, rows_along, scores_along, trial_scores

__all__ = [
    "Gains",
    "GainsOver",
    "QueryRows",
    "gains_over",
    "query_rows",
    "row_gains",
    "row_values",
    "squares_less_noise",
]

_ENTRIES = 1 << 22  # values of rows at once: 32 MB
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


@dataclass(frozen=True)
class GainsOver:
    """Computes gains over the initialisation. Made by `gains_over`.

    Attributes:
        trials: that were predicted.
        before: `[trials]` of outputs of the initialisation.
        scores: `[trials]`, their metric.
        metric: to compute.
        rows: where query rows belong; None where that is not known, or the metric is no mean over rows.
        values: `[rows]`, what query rows contribute under the initialisation; empty without `rows`.
    """

    trials: Trials
    before: Sequence[Array]
    scores: Array
    metric: Metric
    rows: QueryRows | None
    values: Array

    def of(self, outputs: Sequence[Array]) -> Gains:
        """The gains of adapted models' outputs, `[trials]` of outputs."""
        if self.rows is None or self.metric.rows is None:
            return self._of_scores(trial_scores(self.trials, outputs, self.metric))
        return self._of_rows(self.rows, row_values(self.trials, outputs, self.metric.rows))

    def along(self, after: Sequence[Array], parts: Array) -> Iterator[Gains]:
        """The gains of outputs between those of the initialisation and others, one for each part of the way.

        Args:
            after: `[trials]` of outputs, reached where a part is 1.
            parts: float32 `[parts, trials]`, from 0 to 1.
        """
        if self.rows is None:
            found = scores_along(self.trials, self.before, after, parts, self.metric)
            yield from (self._of_scores(scores) for scores in found)
        else:
            at_once = max(1, _ENTRIES // max(1, len(self.values)))
            for begin in range(0, len(parts), at_once):
                some = parts[begin : begin + at_once]
                found = rows_along(self.trials, self.before, after, some, self.metric)
                yield from (self._of_rows(self.rows, values) for values in found)

    def _of_scores(self, scores: Array) -> Gains:
        return Gains(self.metric.gain(scores, self.scores), None)

    def _of_rows(self, rows: QueryRows, values: Array) -> Gains:
        gains = row_gains(rows, self.values, values, self.metric)
        return Gains(np.bincount(rows.trial, gains) / rows.size, squares_less_noise(rows, gains))


def gains_over(trials: Trials, before: Sequence[Array], scores: Array, metric: Metric) -> GainsOver:
    """What computes gains over the initialisation, for outputs of adapted models.

    Args:
        trials: that were predicted, at least one, ordered by user.
        before: `[trials]` of outputs of the initialisation.
        scores: `[trials]`, their metric.
        metric: to compute.
    """
    rows, of_rows = query_rows(trials), metric.rows
    if rows is None or of_rows is None:
        return GainsOver(trials, before, scores, metric, None, np.zeros(0))
    return GainsOver(trials, before, scores, metric, rows, row_values(trials, before, of_rows))


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
