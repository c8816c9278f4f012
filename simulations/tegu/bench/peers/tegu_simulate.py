"""Tegu in `tegu bench simulate`: rounds in this process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tegu.bench.peers.prepared_task import PreparedTask, TimedRun
from tegu.bench.tasks.learners import make_learner
from tegu.bench.tasks.models import MODELS
from tegu.bench.tasks.task import Task
from tegu.compile import compile_learner
from tegu.core.data.tree import Tree
from tegu.server.progress import RoundProgress, Silent
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import CohortPlan, TrainingPlan
from tegu.sim.data.cohort import draw_cohort
from tegu.sim.data.population import Population
from tegu.sim.engine import fastest
from tegu.sim.training.in_process import train_in_process

__all__ = ["prepare_task"]


@contextmanager
def prepare_task(task: Task, folder: Path) -> Iterator[PreparedTask]:
    """See `tegu.bench.peers`."""
    del folder
    settings = task.settings
    learner = make_learner(settings)
    population = Population.from_arrays(task.x, task.y, task.user, MODELS[settings.model].spec)
    outer = OuterRule(settings.outer, settings.outer_lr, settings.outer_options)
    plan = TrainingPlan(rounds=settings.rounds, cohort=CohortPlan(task.users), outer=outer, episodes=settings.episodes)
    first = draw_cohort(population, np.arange(len(population)), settings.episodes, plan.seed, 1)
    engine = fastest(learner, compile_learner(learner), task.init, first)  # as `tegu simulate --engine auto`

    def repeat() -> TimedRun:
        every_round = _Recorder()
        began = time.perf_counter()
        train_in_process(engine, population, task.init, plan, progress=every_round)
        return TimedRun(time.perf_counter() - began, every_round.metas)

    yield PreparedTask(repeat, engine.backend.name)


class _Recorder(Silent):
    """Keeps the parameters after every round."""

    def __init__(self) -> None:
        self.metas: list[Tree] = []

    def round(self, progress: RoundProgress) -> None:
        """Keep the parameters."""
        self.metas.append(progress.meta)
