"""One run of `tegu bench scale`: trains on a population on disk and prints the users trained per second."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from torch import nn

from tegu.compile import compile_learner
from tegu.core.data.spec import Spec
from tegu.core.sampling.episode import EpisodeRule
from tegu.learners import reptile
from tegu.server.training.plan import CohortPlan, TrainingPlan
from tegu.sim.data.population_on_disk import read_population
from tegu.sim.engine import make_engine
from tegu.sim.training.in_process import train_in_process

__all__ = ["FEATURES", "ROWS", "SPEC", "run"]

FEATURES, ROWS = 16, 10
SPEC = Spec.classification((FEATURES,), 2)
COHORT = 100


def run(folder: Path, rounds: int) -> float:
    """Users trained per second, over so many rounds of 100 users."""
    population = read_population(folder)
    model = nn.Sequential(nn.Linear(FEATURES, 64), nn.ReLU(), nn.Linear(64, 2))
    learner = reptile(model, SPEC, steps=5, lr=0.1, init="fresh")
    engine = make_engine(learner, compile_learner(learner))
    plan = TrainingPlan(rounds=rounds, cohort=CohortPlan(COHORT), episodes=EpisodeRule(5, 5, 5))
    train_in_process(engine, population, learner.init(0), replace(plan, rounds=5))
    trained = train_in_process(engine, population, learner.init(0), plan)
    return trained.user_rounds / trained.seconds


if __name__ == "__main__":
    print(run(Path(sys.argv[1]), int(sys.argv[2])))
