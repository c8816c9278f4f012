"""24 users with one sine wave each, and a small network with residual correction, compiled once per session."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from torch import nn

from tegu.compile import make_bundle
from tegu.core.bundle.file import Bundle
from tegu.core.calibration.assignment import is_calibration_user
from tegu.core.sampling.episode import EpisodeRule
from tegu.learners.algorithms.residual_correction import residual_correction
from tegu.learners.learner import Learner
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import CohortPlan, TrainingPlan, UpdatePlan
from tegu.sim.data.population import Population
from tegu.sim.engine import Engine, make_engine
from tegu.sim.experiments.sine import sine_population

NODES, SHARE, KS = 2, 0.45, (1, 2, 4, 99)
PLAN = TrainingPlan(
    rounds=2,
    seed=2,
    cohort=CohortPlan(NODES, NODES),
    outer=OuterRule("Adam", 0.02),
    episodes=EpisodeRule(3, 6, 4),
    updates=UpdatePlan(clip=math.inf),
)


@cache
def population() -> Population:
    return sine_population(24, 9, 5)


@cache
def learner() -> Learner:
    model = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))
    return residual_correction(model, population().spec, steps=3, lr=0.05, init="fresh")


@cache
def bundle() -> Bundle:
    return make_bundle(learner(), learner().init(0))


@cache
def engine() -> Engine:
    return make_engine(learner(), bundle().graphs)


def split_users(share: float = SHARE, seed: int = PLAN.seed, fold: int = 0) -> tuple[Population, Population]:
    """The training users and the calibration users, drawn as devices draw them."""
    users = population()
    chosen = np.asarray([is_calibration_user(seed, str(name), share, fold) for name in users.users])
    return users.subset(np.flatnonzero(~chosen)), users.subset(np.flatnonzero(chosen))
