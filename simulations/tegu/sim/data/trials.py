"""Trials of a population's users. Every method gets the same ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tegu.core.errors import DataError, PopulationError
from tegu.core.sampling.trials import DRAWS, Trial, Trials, user_trials
from tegu.sim.data.population import Population

__all__ = ["draw_trials"]


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
    trials = [trial for user in users for trial in _draws(population, int(user), k, seed, draws)]
    return Trials(population.spec, k, trials)


def _draws(population: Population, user: int, k: int, seed: int, draws: int) -> Iterator[Trial]:
    ties = population.ties(np.asarray([user])) if population.tied[user] else None
    name, (x, y) = str(population.users[user]), population.rows(user)
    return user_trials(user, name, x, y, ties, spec=population.spec, k=k, seed=seed, draws=draws)
