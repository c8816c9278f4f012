"""Trials for evaluation: one user, k support rows and a query. The same on a device and in a simulation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from tegu.core.data.batch import Array, NumpyBatch, full_batch, stack_batches
from tegu.core.data.spec import Spec
from tegu.core.metrics import Metric
from tegu.core.sampling.episode import split_rows
from tegu.core.sampling.keyed_random import NO_NOISE, draw_noise, keyed_rng
from tegu.core.sampling.leakage import RowUnits

__all__ = [
    "DRAWS",
    "MAX_QUERY",
    "Trial",
    "Trials",
    "rows_along",
    "scores_along",
    "stacked_inputs",
    "stacked_noise",
    "stacked_supports",
    "trial_noise",
    "trial_scores",
    "user_scores",
    "user_trials",
]

DRAWS = 5
MAX_QUERY = 200


class Trial(NamedTuple):
    """One draw for one user.

    Attributes:
        user: index of the user among those that trials are drawn for.
        support: k rows.
        query: rows of the same user in other units than the support's (`split_rows`). At most `MAX_QUERY` rows, except
            for ranking, which takes all of them.
        keys: determine the learner's noise, if it draws any.
        units: int64 `[query rows]`, which of the user's rows each one is, the same in all trials of the user; rows that
            belong together have one number. None if not known.
    """

    user: int
    support: NumpyBatch
    query: NumpyBatch
    keys: tuple[int | str, ...] = ()
    units: Array | None = None


class Trials(NamedTuple):
    """All trials with supports of k rows.

    Attributes:
        spec: layout of the rows.
        k: rows of each support.
        trials: ordered by user.
    """

    spec: Spec
    k: int
    trials: Sequence[Trial]

    @property
    def users(self) -> int:
        """Number of users."""
        return len({trial.user for trial in self.trials})


def user_trials(
    index: int, name: str, x: Array, y: Array, units: RowUnits | None, *, spec: Spec, k: int, seed: int, draws: int
) -> Iterator[Trial]:
    """`draws` trials of one user.

    Args:
        index: stored as `Trial.user`.
        name: of the user. The name, the seed, k and the number of the draw determine each draw.
        x: `[rows, ...]`.
        y: `[rows, ...]`.
        units: which rows belong together; None where all rows are independent.
        spec: layout of the rows.
        k: rows of each support, at most `units.max_support`.
        seed: of the run.
        draws: number of trials.
    """
    limit = None if spec.kind == "ranking" else MAX_QUERY
    for draw in range(draws):
        keys = ("trial", seed, name, k, draw)
        order = keyed_rng(*keys).permutation(len(x))
        support, query = split_rows(order, k, units)
        query = query[:limit]
        together = query if units is None else units.unit[query]
        yield Trial(index, full_batch(x[support], y[support]), full_batch(x[query], y[query]), keys, together)


def stacked_supports(trials: Trials) -> NumpyBatch:
    """The supports as one batch, `[trials, k, ...]`."""
    return stack_batches([trial.support for trial in trials.trials])


def trial_noise(trial: Trial, length: int) -> Array:
    """The noise of one trial's adaptation, float32 `[length]`."""
    return draw_noise(length, *trial.keys) if length else NO_NOISE


def stacked_noise(trials: Trials, length: int) -> Array:
    """`[trials, length]`, of `trial_noise`."""
    drawn = [trial_noise(trial, length) for trial in trials.trials]
    return np.stack(drawn) if drawn else np.zeros((0, length), np.float32)


def stacked_inputs(trials: Trials) -> Array:
    """Inputs to predict for: the query inputs padded to `[trials, rows, ...]`; for ranking the whole catalogue."""
    spec = trials.spec
    if spec.kind == "ranking":
        return np.broadcast_to(np.arange(spec.items), (len(trials.trials), spec.items))
    return stack_batches([trial.query for trial in trials.trials]).x


def trial_scores(trials: Trials, outputs: Sequence[Array] | Array, metric: Metric) -> Array:
    """The metric of each trial, `[trials]`.

    Args:
        trials: that were predicted.
        outputs: `[trials]` of outputs for `stacked_inputs`; padded rows are ignored.
        metric: to compute.
    """
    ranking, no_items = trials.spec.kind == "ranking", np.zeros(0, np.int64)
    return np.asarray(
        [
            metric.score(output, trial.query.x, trial.support.x)
            if ranking
            else metric.score(output[: len(trial.query.y)], trial.query.y, no_items)
            for trial, output in zip(trials.trials, outputs, strict=True)
        ]
    )


def scores_along(
    trials: Trials, before: Sequence[Array], after: Sequence[Array], parts: Array, metric: Metric
) -> Array:
    """The metric of each trial for outputs between two others, as a bundle's graphs compute them, `[parts, trials]`.

    Log-probabilities are right up to a constant of each row, because a bundle normalises them afterwards.

    Args:
        trials: that were predicted.
        before: `[trials]` of outputs, as in `trial_scores`.
        after: `[trials]` of outputs, as in `trial_scores`.
        parts: `[parts, trials]`, 0 for `before` and 1 for `after`.
        metric: to compute.
    """
    return np.stack(list(_along(trials, before, after, parts, metric.scores_along)), 1)


def rows_along(trials: Trials, before: Sequence[Array], after: Sequence[Array], parts: Array, metric: Metric) -> Array:
    """What query rows contribute to the metric, `[parts, rows of all trials]`; see `scores_along`.

    Args:
        trials: as in `scores_along`, as all that follows.
        before: outputs.
        after: outputs.
        parts: of the way.
        metric: one with `Metric.rows`.
    """
    return np.concatenate(list(_along(trials, before, after, parts, metric.rows_along)), 1)


def _along(
    trials: Trials,
    before: Sequence[Array],
    after: Sequence[Array],
    parts: Array,
    compute: Callable[[Array, Array, Array, Array, Array], Array],
) -> Iterator[Array]:
    ranking, no_items = trials.spec.kind == "ranking", np.zeros(0, np.int64)
    for trial, a, b, part in zip(trials.trials, before, after, parts.astype(np.float32).T, strict=True):
        rows = len(trial.query.y)
        if ranking:
            yield compute(a, b, part, trial.query.x, trial.support.x)
        else:
            yield compute(a[:rows], b[:rows], part, trial.query.y, no_items)


def user_scores(trials: Trials, outputs: Sequence[Array] | Array, metric: Metric) -> Array:
    """The metric of each user averaged over its draws, `[users]`; arguments as in `trial_scores`."""
    users = np.asarray([trial.user for trial in trials.trials])
    begins = np.flatnonzero(np.diff(users, prepend=-1))
    return np.add.reduceat(trial_scores(trials, outputs, metric), begins) / np.diff(begins, append=len(users))


def tolerance(trials: Trials, initialisation: Sequence[Array] | Array, metric: Metric) -> Array:
    """How much of each user's metric may be lost before it counts as harm, averaged over the user's draws: `[users]`.

    Args:
        trials: that were predicted.
        initialisation: `[trials]` of outputs of the initialisation.
        metric: to compute. A loss as large as one query row's contribution is tolerated.
    """

    def resolution(outputs: Array, y: Array, seen: Array) -> float:
        return metric.resolution(metric.score(outputs, y, seen), y)

    return user_scores(trials, initialisation, replace(metric, score=resolution))
