"""Tegu's side of `tegu bench simulate`: rounds in this process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from tegu.bench.peers.prepared_task import Done, Ready

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

__all__ = ["opened"]


@contextmanager
def opened(task: Task, folder: Path) -> Iterator[Ready]:
    """See `tegu.bench.peers`."""
    del folder
    work = task.work
    learner = make_learner(work)
    population = Population.from_arrays(task.x, task.y, task.user, MODELS[work.model].spec)
    outer = OuterRule(work.outer, work.outer_lr, work.outer_options)
    plan = TrainingPlan(rounds=work.rounds, cohort=CohortPlan(task.users), outer=outer, episodes=work.rule)
    first = draw_cohort(population, np.arange(len(population)), work.rule, plan.seed, 1)
    engine = fastest(learner, compile_learner(learner), task.init, first)  # as `tegu simulate --engine auto`

    def repeat() -> Done:
        kept = _Metas()
        began = time.perf_counter()
        train_in_process(engine, population, task.init, plan, progress=kept)
        return Done(time.perf_counter() - began, kept.metas)

    yield Ready(repeat, engine.backend.name)


class _Metas(Silent):
    """Keeps the parameters after every round."""

    def __init__(self) -> None:
        self.metas: list[Tree] = []

    def round(self, progress: RoundProgress) -> None:
        """Keep them."""
        self.metas.append(progress.meta)
