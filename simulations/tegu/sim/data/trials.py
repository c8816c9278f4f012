"""Trials of a population's users. Every method is evaluated on the same ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tegu.core.errors import DataError, PopulationError
from tegu.core.sampling.trials import DRAWS, Trial, Trials, user_trials
from tegu.sim.data.population import Population

__all__ = ["draw_trials"]


def draw_trials(population: Population, k: int, seed: int, draws: int = DRAWS) -> Trials:
    """`draws` trials for every user that can adapt on `k` rows and still has a query row.

    Other users are left out.

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
    trials = [trial for user in users for trial in _trials_of(population, int(user), k, seed, draws)]
    return Trials(population.spec, k, trials)


def _trials_of(population: Population, user: int, k: int, seed: int, draws: int) -> Iterator[Trial]:
    units = population.row_units(np.asarray([user])) if population.has_units[user] else None
    name, (x, y) = str(population.users[user]), population.rows(user)
    return user_trials(user, name, x, y, units, spec=population.spec, k=k, seed=seed, draws=draws)
