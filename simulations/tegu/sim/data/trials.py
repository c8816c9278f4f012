"""Trials of a population's users. Every method is evaluated on the same ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.errors import DataError, PopulationError
from tegu.core.sampling.trials import DRAWS, Trial, Trials, user_trials
from tegu.sim.data.population import Population

__all__ = ["draw_trials"]


def draw_trials(
    population: Population, k: int, seed: int, draws: int = DRAWS, codes: Sequence[Array] | None = None
) -> Trials:
    """`draws` trials for every user that can adapt on `k` rows and still has a query row.

    Other users are left out.

    Args:
        population: the users.
        k: rows of each support.
        seed: of the run.
        draws: number of trials of each user.
        codes: what takes the place of each user's inputs, `[users]` of `[rows, ...]`; None for the inputs themselves.
            The same rows are drawn.

    Raises:
        DataError: `k` is less than 1.
        PopulationError: no user has enough rows.
    """
    if k < 1:
        raise DataError(f"k is {k}: expected a support of at least one row")
    users = np.flatnonzero(population.max_support >= k)
    if not len(users):
        most = population.max_support.max(initial=-1) + 1
        raise PopulationError(
            f"no user has more than k = {k} rows (the most is {most} if rows that must stay together are not split): "
            "expected a support of k rows and at least one query row; choose a smaller k"
        )
    trials = [trial for user in users for trial in _trials_of(population, int(user), k, seed, draws, codes)]
    return Trials(population.spec, k, trials)


def _trials_of(
    population: Population, user: int, k: int, seed: int, draws: int, codes: Sequence[Array] | None
) -> Iterator[Trial]:
    units = population.row_units(np.asarray([user])) if population.has_units[user] else None
    name, (x, y) = str(population.users[user]), population.rows(user)
    return user_trials(
        user, name, x if codes is None else codes[user], y, units, spec=population.spec, k=k, seed=seed, draws=draws
    )
