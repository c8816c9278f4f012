"""Trials: a held-out user, k rows to adapt on and the rest to be judged by. Every method gets the same ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tegu.core.batch import Array, NumpyBatch, full_batch, stack_batches
from tegu.core.episode import part_rows, rows_rng
from tegu.core.errors import DataError, PopulationError
from tegu.sim.metrics import Metric
from tegu.sim.population import Population

__all__ = ["DRAWS", "Trial", "Trials", "draw_trials", "per_trial", "per_user", "stacked_inputs", "stacked_supports"]

DRAWS = 5
MAX_QUERY = 200


class Trial(NamedTuple):
    """One draw for one user.

    Attributes:
        user: index in the population.
        support: k rows.
        query: other rows of the same user that share nothing with the support (`part_rows`), at most `MAX_QUERY`; all
            of them for ranking.
    """

    user: int
    support: NumpyBatch
    query: NumpyBatch


class Trials(NamedTuple):
    """All trials with supports of k rows.

    Attributes:
        population: whose users these are.
        k: rows of each support.
        trials: user by user.
    """

    population: Population
    k: int
    trials: Sequence[Trial]


def draw_trials(population: Population, k: int, seed: int, draws: int = DRAWS) -> Trials:
    """`draws` trials for every user who can adapt on `k` rows and be judged by others; the rest are left out.

    Raises:
        DataError: `k` is less than 1.
        PopulationError: there is no such user.
    """
    if k < 1:
        raise DataError(f"k is {k}: expected a support of at least one row")
    users = np.flatnonzero(population.most >= k)
    if not len(users):
        most = population.most.max(initial=-1) + 1
        raise PopulationError(
            f"no user has more than k = {k} rows (the most is {most}, less what cannot be parted): expected a support "
            "of k and something to judge by; choose a smaller k"
        )
    limit = None if population.spec.kind == "ranking" else MAX_QUERY
    trials = [trial for user in users for trial in _draws(population, int(user), k, limit, seed, draws)]
    return Trials(population, k, trials)


def _draws(population: Population, user: int, k: int, limit: int | None, seed: int, draws: int) -> Iterator[Trial]:
    x, y = population.rows(user)
    ties = population.ties(np.asarray([user])) if population.tied[user] else None
    for draw in range(draws):
        order = rows_rng("trial", seed, str(population.users[user]), k, draw).permutation(len(x))
        support, query = part_rows(order, k, ties)
        query = query[:limit]
        yield Trial(user, full_batch(x[support], y[support]), full_batch(x[query], y[query]))


def stacked_supports(trials: Trials) -> NumpyBatch:
    """`[trials, k, ...]`."""
    return stack_batches([trial.support for trial in trials.trials])


def stacked_inputs(trials: Trials) -> Array:
    """What to predict: the query's inputs padded to `[trials, rows, ...]`, or the whole catalogue for ranking."""
    spec = trials.population.spec
    if spec.kind == "ranking":
        return np.broadcast_to(np.arange(spec.items), (len(trials.trials), spec.items))
    return stack_batches([trial.query for trial in trials.trials]).x


def per_trial(trials: Trials, outputs: Sequence[Array] | Array, metric: Metric) -> Array:
    """`[trials]`: the metric of each.

    Args:
        trials: what was predicted.
        outputs: `[trials]` of outputs for `stacked_inputs`; padded rows are passed over.
        metric: what to judge by.
    """
    ranking, nothing = trials.population.spec.kind == "ranking", np.zeros(0, np.int64)
    return np.asarray(
        [
            metric.score(output, trial.query.x, trial.support.x)
            if ranking
            else metric.score(output[: len(trial.query.y)], trial.query.y, nothing)
            for trial, output in zip(trials.trials, outputs, strict=True)
        ]
    )


def per_user(trials: Trials, outputs: Sequence[Array] | Array, metric: Metric) -> Array:
    """`[users]`: the metric of each user in turn, averaged over its draws; as `per_trial`."""
    users = np.asarray([trial.user for trial in trials.trials])
    begins = np.flatnonzero(np.diff(users, prepend=-1))
    return np.add.reduceat(per_trial(trials, outputs, metric), begins) / np.diff(begins, append=len(users))
