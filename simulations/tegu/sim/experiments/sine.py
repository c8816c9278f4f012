"""Few-shot regression of sine waves, from the MAML and Reptile papers.

A user has a wave `y = amplitude * sin(x + phase)` with amplitude in [0.1, 5], phase in [0, pi] and x in [-5, 5]
(Finn et al. 2017, arXiv:1703.03400, section 5.1; Nichol et al. 2018, arXiv:1803.02999, section 6.1 has phases to 2 pi).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from tegu.core.data.spec import Spec
from tegu.core.sampling.episode import EpisodeRule
from tegu.core.sampling.keyed_random import keyed_rng
from tegu.learners.algorithms.residual_correction import residual_correction
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import CohortPlan, TrainingPlan
from tegu.sim.data.population import Population
from tegu.sim.experiments.experiment import Experiment

__all__ = ["sine", "sine_experiment", "sine_population"]

USERS, ROWS = 1400, 50


def sine_population(users: int, rows: int, seed: int) -> Population:
    """Return `users` users, each with `rows` points of the user's own wave."""
    rng = keyed_rng("sine", seed)
    amplitude = rng.uniform(0.1, 5.0, (users, 1))
    phase = rng.uniform(0.0, np.pi, (users, 1))
    x = rng.uniform(-5.0, 5.0, (users, rows))
    y = amplitude * np.sin(x + phase)
    user = np.repeat(np.arange(users), rows)
    return Population.from_arrays(
        x.reshape(-1, 1).astype(np.float32), y.reshape(-1, 1).astype(np.float32), user, Spec.regression((1,))
    )


def _network() -> nn.Module:
    """Return a small tanh network."""
    return nn.Sequential(nn.Linear(1, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))


def sine(*, seed: int, rounds: int | None = None, cohort: int | None = None) -> Experiment:
    """Build the experiment."""
    return sine_experiment("sine", sine_population(USERS, ROWS, seed), seed=seed, rounds=rounds or 1500, cohort=cohort)


def sine_experiment(name: str, population: Population, *, seed: int, rounds: int, cohort: int | None) -> Experiment:
    """Build an experiment on users who each have a wave.

    Args:
        name: name of the experiment.
        population: the users.
        seed: determines splits, first parameters, cohorts and episodes.
        rounds: number of rounds.
        cohort: users per round; None for 25.
    """
    model = _network()
    options: dict[str, Any] = {"init": "fresh", "steps": 10, "lr": 0.02, "minibatches": 5}
    plan = TrainingPlan(
        rounds=rounds,
        cohort=CohortPlan(cohort or 25),
        seed=seed,
        outer=OuterRule("Adam", 0.01, decay=True),
        episodes=EpisodeRule(min_support=10, max_support=10),
    )
    return Experiment(
        name=name,
        population=population,
        model=model,
        learner=residual_correction(model, population.spec, **options),
        options=options,
        plan=plan,
    )
