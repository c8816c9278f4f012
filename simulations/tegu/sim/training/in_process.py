"""Meta-training over a population: the same strategy in this process, or on Flower's Ray simulation."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from tegu.core.bundle.manifest import Manifest
from tegu.core.calibration.evaluation_request import EvaluationRequest
from tegu.core.data.tree import Tree
from tegu.core.errors import PopulationError, UnknownNameError
from tegu.core.metrics import Metric
from tegu.core.sampling.episode import shortage_message
from tegu.core.sampling.trials import DRAWS
from tegu.server.evaluation.round import run_evaluation_round
from tegu.server.evaluation.validation import (
    Validation,
    ValidationHistory,
    ValidationRule,
    Validations,
    validation_candidates,
    validation_from_sums,
)
from tegu.server.progress import SILENT, Progress
from tegu.server.training.checkpoint import latest_checkpoint
from tegu.server.training.outer_optimiser import OuterOptimiser
from tegu.server.training.plan import CohortPlan, TrainingPlan
from tegu.server.training.strategy import MetaStrategy
from tegu.sim.data.population import Population
from tegu.sim.engine import Engine
from tegu.sim.federation.grid import Answer, InProcessGrid, answer_with, flower_identity
from tegu.wire import to_record

__all__ = ["Backend", "Trained", "Validator", "check_backend", "check_cohort", "train_in_process"]

Backend: TypeAlias = Literal["inprocess", "ray"]


class Trained(NamedTuple):
    """What training gave.

    Attributes:
        meta: the initialisation.
        seconds: wall time of the rounds, less that of looks.
        user_rounds: users' updates in all.
        received: bytes of the participants' updates; 0 where nobody counted.
        kept: the round whose parameters are kept.
        looks: at the parameters while the run went on.
    """

    meta: Tree
    seconds: float
    user_rounds: int
    received: int = 0
    kept: int = 0
    looks: tuple[Validation, ...] = ()


class Validator(NamedTuple):
    """Who looks at the parameters while a run goes on.

    Attributes:
        people: calibration users.
        metric: what they judge by.
        k: interactions they adapt on.
        manifest: of the learner, by whose own knobs they do.
    """

    people: Population
    metric: Metric
    k: int
    manifest: Manifest

    def inquiry(self, seed: int, draws: int = 1) -> EvaluationRequest:
        """What a look asks."""
        questions = validation_candidates(self.k, self.manifest, draws)
        return EvaluationRequest(self.metric.name, seed, 0.0, questions)

    def looks(self, plan: TrainingPlan, history: ValidationHistory | None) -> Validations:
        """The looks of a plan's run."""
        stopping = plan.early_stopping
        every = stopping.interval(plan.rounds, by_default=True)
        rule = ValidationRule(every, stopping.patience, self.metric.higher_is_better)
        return Validations(rule, self.inquiry(plan.seed), plan.rounds, history)

    def judged(self, engine: Engine, training: Population, trained: Trained, seed: int) -> Validation | None:
        """A closer look at what was trained: how calibration users, and others who trained, do by it."""
        grid = InProcessGrid(1, _answer(engine, training, 1, self))
        with flower_identity():
            answers = run_evaluation_round(grid, to_record(trained.meta), self.inquiry(seed, DRAWS), "validation")
        return validation_from_sums(trained.kept, answers, self.metric.higher_is_better)


def check_cohort(population: Population, plan: TrainingPlan) -> int:
    """The number of participants, once the plan fits the population.

    Raises:
        PopulationError: fewer users than nodes, fewer nodes than the cohort, or nobody with enough rows.
    """
    cohort, least = plan.cohort, plan.episodes.min_support
    nodes = len(population) if cohort.nodes is None else cohort.nodes
    if nodes > len(population) or cohort.size > nodes:
        raise PopulationError(
            f"the cohort is {cohort.size} of {nodes} nodes and there are {len(population)} training users: "
            "expected cohort <= nodes <= users; make the cohort smaller or bring more users"
        )
    worst = int(population.most.argmin())
    if cohort.nodes is None and population.most[worst] < least:
        wrong = shortage_message(int(population.counts[worst]), int(population.most[worst]), least)
        raise PopulationError(f"user {population.users[worst]} has {wrong}; see population.with_rows")
    return nodes


def train_in_process(
    engine: Engine,
    population: Population,
    meta: Tree,
    plan: TrainingPlan,
    *,
    checkpoints: Path | None = None,
    progress: Progress = SILENT,
    validation: Validator | None = None,
) -> Trained:
    """Run the plan's rounds in this process.

    Args:
        engine: runs the learner.
        population: training users.
        meta: where to start, unless `checkpoints` holds a later state.
        plan: how to train.
        checkpoints: folder for a checkpoint after every round, from which a run is resumed; None for none.
        progress: told of every round, after a look at it.
        validation: who looks at the parameters while the run goes on; None for nobody, and then the plan's patience
            means nothing.

    Raises:
        PopulationError: as `check_cohort`.
        FederationError: a checkpoint that cannot be used, or an update that is not finite.
    """
    participants = check_cohort(population, plan)
    hosted = _hosted(plan)
    nodes = participants if hosted is plan else 1
    checkpoint = latest_checkpoint(checkpoints) if checkpoints else None
    outer = OuterOptimiser(checkpoint.meta if checkpoint else meta, plan.outer, plan.rounds)
    if checkpoint:
        outer.restore(checkpoint.outer)
    done = checkpoint.round if checkpoint else 0
    looks = validation.looks(plan, checkpoint.history if checkpoint else None) if validation else None
    began = time.perf_counter()
    strategy = MetaStrategy(outer, hosted, checkpoints=checkpoints, done=done, progress=progress, looks=looks)
    received = 0
    if done < plan.rounds:
        with flower_identity(), _quiet_flower():
            grid = InProcessGrid(nodes, _answer(engine, population, nodes, validation))
            result = strategy.start(grid, to_record(outer.meta), num_rounds=plan.rounds - done)
            received = sum(int(str(metrics["bytes"])) for metrics in result.train_metrics_clientapp.values())
    kept, found = strategy.kept
    seconds = time.perf_counter() - began - (looks.seconds if looks else 0.0)
    return Trained(found, seconds, strategy.user_rounds, received, kept, tuple(looks.found) if looks else ())


def _hosted(plan: TrainingPlan) -> TrainingPlan:
    """The plan for one node that stands for all users, where each is a node; not where each rounds its own update."""
    if plan.cohort.nodes is not None or plan.updates.precision != "float32":
        return plan
    return replace(plan, cohort=CohortPlan(size=1, users_per_node=plan.cohort.size))


def _answer(engine: Engine, population: Population, nodes: int, validation: Validator | None) -> Answer:
    if validation is None:
        return answer_with(engine, population, nodes)
    metric = validation.metric
    return answer_with(engine, population, nodes, validation.people, {metric.name: metric})


@contextmanager
def _quiet_flower() -> Iterator[None]:
    """Flower logs every round at INFO, to the standard error it found at import."""
    logger = logging.getLogger("flwr")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def check_backend(backend: str) -> None:
    """Refuse a name that is no backend."""
    if backend not in ("inprocess", "ray"):
        raise UnknownNameError("backend", backend, ("inprocess", "ray"))
