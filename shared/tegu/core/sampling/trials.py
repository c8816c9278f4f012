"""Trials: a user, k rows to adapt on and the rest to be judged by, the same on a device and in a simulation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from tegu.core.data.batch import Array, NumpyBatch, full_batch, stack_batches
from tegu.core.data.spec import Spec
from tegu.core.metrics import Metric
from tegu.core.sampling.episode import split_rows
from tegu.core.sampling.keyed_random import keyed_rng
from tegu.core.sampling.leakage import RowUnits

__all__ = [
    "DRAWS",
    "MAX_QUERY",
    "Trial",
    "Trials",
    "stacked_inputs",
    "stacked_supports",
    "trial_scores",
    "user_scores",
    "user_trials",
]

DRAWS = 5
MAX_QUERY = 200


class Trial(NamedTuple):
    """One draw for one user.

    Attributes:
        user: the user's place among those that trials are drawn for.
        support: k rows.
        query: other rows of the same user that share nothing with the support (`split_rows`), at most `MAX_QUERY`; all
            of them for ranking.
    """

    user: int
    support: NumpyBatch
    query: NumpyBatch


class Trials(NamedTuple):
    """All trials with supports of k rows.

    Attributes:
        spec: what the rows are.
        k: rows of each support.
        trials: user by user.
    """

    spec: Spec
    k: int
    trials: Sequence[Trial]

    @property
    def users(self) -> int:
        """How many users there are."""
        return len({trial.user for trial in self.trials})


def user_trials(
    place: int, name: str, x: Array, y: Array, ties: RowUnits | None, *, spec: Spec, k: int, seed: int, draws: int
) -> Iterator[Trial]:
    """`draws` trials of one user.

    Args:
        place: what the trials call the user.
        name: the user's; it decides the draws, with the seed, k and the number of the draw.
        x: `[rows, ...]`.
        y: `[rows, ...]`.
        ties: what belongs together in the rows; None where nothing does.
        spec: what the rows are.
        k: rows of each support, at most `ties.max_support`.
        seed: of the run.
        draws: how many.
    """
    limit = None if spec.kind == "ranking" else MAX_QUERY
    for draw in range(draws):
        order = keyed_rng("trial", seed, name, k, draw).permutation(len(x))
        support, query = split_rows(order, k, ties)
        query = query[:limit]
        yield Trial(place, full_batch(x[support], y[support]), full_batch(x[query], y[query]))


def stacked_supports(trials: Trials) -> NumpyBatch:
    """`[trials, k, ...]`."""
    return stack_batches([trial.support for trial in trials.trials])


def stacked_inputs(trials: Trials) -> Array:
    """What to predict: the query's inputs padded to `[trials, rows, ...]`, or the whole catalogue for ranking."""
    spec = trials.spec
    if spec.kind == "ranking":
        return np.broadcast_to(np.arange(spec.items), (len(trials.trials), spec.items))
    return stack_batches([trial.query for trial in trials.trials]).x


def trial_scores(trials: Trials, outputs: Sequence[Array] | Array, metric: Metric) -> Array:
    """`[trials]`: the metric of each.

    Args:
        trials: what was predicted.
        outputs: `[trials]` of outputs for `stacked_inputs`; padded rows are passed over.
        metric: what to judge by.
    """
    ranking, nothing = trials.spec.kind == "ranking", np.zeros(0, np.int64)
    return np.asarray(
        [
            metric.score(output, trial.query.x, trial.support.x)
            if ranking
            else metric.score(output[: len(trial.query.y)], trial.query.y, nothing)
            for trial, output in zip(trials.trials, outputs, strict=True)
        ]
    )


def user_scores(trials: Trials, outputs: Sequence[Array] | Array, metric: Metric) -> Array:
    """`[users]`: the metric of each user in turn, averaged over its draws; as `trial_scores`."""
    users = np.asarray([trial.user for trial in trials.trials])
    begins = np.flatnonzero(np.diff(users, prepend=-1))
    return np.add.reduceat(trial_scores(trials, outputs, metric), begins) / np.diff(begins, append=len(users))


def tolerance(trials: Trials, initialisation: Sequence[Array] | Array, metric: Metric) -> Array:
    """`[users]`: how far each user's figure may fall before it counts as harm, averaged over the user's draws.

    Args:
        trials: what was predicted.
        initialisation: `[trials]`, its outputs.
        metric: what is judged by; one query row's part in it is tolerated.
    """

    def resolution(outputs: Array, y: Array, seen: Array) -> float:
        return metric.resolution(metric.score(outputs, y, seen), y)

    return user_scores(trials, initialisation, replace(metric, score=resolution))
