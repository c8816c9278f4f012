"""Two groups of users with opposite preferences, and one group alone: for one initialisation and for several.

A user has `y = sign * size * 2 sin(x) + noise` with x in [-5, 5], a size in [0.8, 1.2] and noise of 0.3. With two
groups the sign is drawn for each user, so that the mean over users is zero. With one group the sign is 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from tegu.core.data.batch import Array
from tegu.core.data.spec import Spec
from tegu.core.sampling.episode import EpisodeRule
from tegu.core.sampling.keyed_random import keyed_rng
from tegu.learners.algorithms.residual_correction import residual_correction
from tegu.server.training.calibration_plan import CalibrationPlan
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import CohortPlan, TrainingPlan
from tegu.sim.data.population import Population
from tegu.sim.experiments.experiment import Experiment

__all__ = ["one_group", "signed_sines", "two_groups"]

USERS, ROWS = 600, 30


def signed_sines(users: int, rows: int, seed: int, signs: tuple[int, ...]) -> Population:
    """Return `users` users with `rows` points each; each user's sign is drawn from `signs`."""
    rng = keyed_rng("signed_sines", seed)
    size = rng.uniform(0.8, 1.2, (users, 1)) * rng.choice(signs, (users, 1))
    x = rng.uniform(-5.0, 5.0, (users, rows))
    y = size * 2 * np.sin(x) + 0.3 * rng.standard_normal(x.shape)
    user = np.repeat(np.arange(users), rows)
    return Population.from_arrays(_column(x), _column(y), user, Spec.regression((1,)))


def two_groups(*, seed: int, rounds: int | None = None, cohort: int | None = None) -> Experiment:
    """Build the experiment with two groups."""
    return _experiment("two_groups", (-1, 1), seed, rounds, cohort)


def one_group(*, seed: int, rounds: int | None = None, cohort: int | None = None) -> Experiment:
    """Build the experiment with one group."""
    return _experiment("one_group", (1,), seed, rounds, cohort)


def _experiment(name: str, signs: tuple[int, ...], seed: int, rounds: int | None, cohort: int | None) -> Experiment:
    model = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    population = signed_sines(USERS, ROWS, seed, signs)
    options: dict[str, Any] = {"init": "fresh", "steps": 10, "lr": 0.02}
    plan = TrainingPlan(
        rounds=rounds or 300,
        cohort=CohortPlan(cohort or 20),
        seed=seed,
        outer=OuterRule("Adam", 0.01, decay=True),
        episodes=EpisodeRule(min_support=1, max_support=15, max_query=15),
        calibration=CalibrationPlan(ks=(1, 2, 5, 10)),
    )
    return Experiment(
        name=name,
        population=population,
        model=model,
        learner=residual_correction(model, population.spec, **options),
        options=options,
        plan=plan,
    )


def _column(values: Array) -> Array:
    return values.reshape(-1, 1).astype(np.float32)
