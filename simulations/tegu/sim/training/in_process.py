"""Meta-training over a population in this process, with the strategy that a SuperLink runs."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeAlias

from tegu.core.bundle.manifest import Manifest
from tegu.core.calibration.evaluation_request import EvaluationRequest
from tegu.core.data.tree import Tree, trained_part
from tegu.core.errors import DataError, PopulationError, UnknownNameError
from tegu.core.metrics import Metric
from tegu.core.notes import note
from tegu.core.sampling.episode import shortage_message
from tegu.core.sampling.trials import DRAWS
from tegu.server.evaluation.early_stopping import ValidationHistory, ValidationRule, Validations
from tegu.server.evaluation.round import run_evaluation_round
from tegu.server.evaluation.validation import Validation, validation_candidates, validation_from_sums
from tegu.server.progress import SILENT, Progress
from tegu.server.training.automatic import settled
from tegu.server.training.checkpoint import latest_checkpoint
from tegu.server.training.outer_optimiser import OuterOptimiser
from tegu.server.training.plan import CohortPlan, TrainingPlan
from tegu.server.training.run_folder import resumed_text
from tegu.server.training.strategy import MetaStrategy
from tegu.sim.attacks.attack import Attack
from tegu.sim.data.population import Population
from tegu.sim.engine import Engine
from tegu.sim.federation.grid import InProcessGrid, MessageHandler, answer_with, flower_identity
from tegu.sim.federation.separate_replies import answer_separately
from tegu.wire import to_record

__all__ = ["Backend", "Trained", "Validator", "check_backend", "check_cohort", "train_in_process"]

Backend: TypeAlias = Literal["inprocess", "ray"]


class Trained(NamedTuple):
    """The result of training.

    Attributes:
        meta: the initialisation.
        seconds: wall time of the rounds, without that of validations.
        user_rounds: number of users' updates over all rounds.
        received: bytes of the participants' updates; 0 if they were not counted.
        kept: the round whose parameters are kept.
        validations: the validations during training, in order.
        privacy: what the training has spent (`tegu.server.privacy.statement`); empty without noise.
    """

    meta: Tree
    seconds: float
    user_rounds: int
    received: int = 0
    kept: int = 0
    validations: tuple[Validation, ...] = ()
    privacy: Mapping[str, Any] = MappingProxyType({})

    def __repr__(self) -> str:
        parameters = sum(value.size for value in self.meta.values())
        return (
            f"Trained(parameters={parameters}, seconds={self.seconds:.1f}, user_rounds={self.user_rounds}, "
            f"kept={self.kept}, validations={len(self.validations)})"
        )


class Validator(NamedTuple):
    """How parameters are validated during training.

    Attributes:
        population: calibration users.
        metric: the metric to evaluate.
        k: interactions that users adapt on.
        manifest: of the learner; users adapt with its own knobs.
    """

    population: Population
    metric: Metric
    k: int
    manifest: Manifest

    def request(self, seed: int, draws: int = 1) -> EvaluationRequest:
        """The evaluation request of one validation."""
        questions = validation_candidates(self.k, self.manifest, draws)
        return EvaluationRequest(self.metric.name, seed, 0.0, questions)

    def validations(self, plan: TrainingPlan, history: ValidationHistory | None) -> Validations:
        """The validations of a run of the plan, continued from `history` if it is given."""
        stopping = plan.early_stopping
        rounds = settled(plan).rounds
        every = stopping.interval(rounds, by_default=True)
        rule = ValidationRule(every, stopping.patience, self.metric.higher_is_better, bool(stopping.until_flat))
        return Validations(rule, self.request(plan.seed), rounds, history)

    def final_validation(self, engine: Engine, training: Population, trained: Trained, seed: int) -> Validation | None:
        """The metric of calibration users and of as many training users, with more draws than during training."""
        trained_only = trained_part(trained.meta, engine.manifest.fixed_parameters)
        grid = InProcessGrid(1, _message_handler(engine, training, 1, self, trained.meta))
        with flower_identity():
            sums = run_evaluation_round(grid, to_record(trained_only), self.request(seed, DRAWS), "validation")
        return validation_from_sums(trained.kept, sums, self.metric.higher_is_better)


def check_cohort(population: Population, plan: TrainingPlan) -> int:
    """Check that the plan's cohort fits the population, and return the number of nodes.

    Raises:
        PopulationError: there are fewer users than nodes, fewer nodes than the cohort, or a user has too few rows.
    """
    cohort, least = plan.cohort, plan.episodes.min_support
    nodes = len(population) if cohort.nodes is None else cohort.nodes
    size = settled(plan).cohort
    if nodes > len(population) or size > nodes:
        raise PopulationError(
            f"the cohort is {size} of {nodes} nodes and there are {len(population)} training users: "
            "expected cohort <= nodes <= users; make the cohort smaller or add users"
        )
    worst = int(population.max_support.argmin())
    if cohort.nodes is None and population.max_support[worst] < least:
        wrong = shortage_message(int(population.counts[worst]), int(population.max_support[worst]), least)
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
    attack: Attack | None = None,
) -> Trained:
    """Run the plan's rounds in this process.

    Args:
        engine: runs the learner.
        population: training users.
        meta: the parameters to start from, unless `checkpoints` holds a later state.
        plan: the training plan.
        checkpoints: folder for a checkpoint after every round, from which a run is resumed. None means no checkpoints.
            The caller holds it and has checked that it holds no other run (`tegu.server.training.run_folder`).
        progress: notified after every round and its validation.
        validation: how parameters are validated. None means no validations, and the plan's patience is ignored.
        attack: what false users do; None if all are honest.

    Raises:
        PopulationError: as `check_cohort`.
        DataError: replies that are looked at one by one are rounded.
        FederationError: a checkpoint cannot be used, or an update is not finite.
    """
    participants = check_cohort(population, plan)
    separate = _looks_at_replies(plan, attack)
    hosted = plan if separate else _on_one_node(plan)
    nodes = participants if hosted is plan else 1
    checkpoint = latest_checkpoint(checkpoints) if checkpoints else None
    rounds, _, rule = settled(plan)
    outer = OuterOptimiser(checkpoint.meta if checkpoint else meta, rule, rounds, engine.manifest.fixed_parameters)
    if checkpoint:
        outer.restore(checkpoint.outer)
    done = checkpoint.round if checkpoint else 0
    if checkpoints and done:
        note(resumed_text(done, rounds, checkpoints))
    validations = validation.validations(plan, checkpoint.history if checkpoint else None) if validation else None
    began = time.perf_counter()
    strategy = MetaStrategy(
        outer,
        hosted,
        checkpoints=checkpoints,
        done=done,
        progress=progress,
        validations=validations,
        clip=checkpoint.clip if checkpoint else math.inf,
        joint=not separate,
        simulation=plan.seed,
    )
    received = 0
    if done < rounds:
        with flower_identity(), _quiet_flower():
            answer = _message_handler(engine, population, nodes, validation, meta)
            if separate:
                fixed = {name: meta[name] for name in engine.manifest.fixed_parameters}
                answer = answer_separately(engine, population, nodes, answer, fixed, attack)
            grid = InProcessGrid(nodes, answer)
            result = strategy.start(grid, to_record(outer.trained), num_rounds=rounds - done)
            received = sum(int(str(metrics["bytes"])) for metrics in result.train_metrics_clientapp.values())
    kept_round, kept_meta = strategy.kept
    seconds = time.perf_counter() - began - (validations.seconds if validations else 0.0)
    found = tuple(validations.found) if validations else ()
    return Trained(kept_meta, seconds, strategy.user_rounds, received, kept_round, found, strategy.privacy)


def _looks_at_replies(plan: TrainingPlan, attack: Attack | None) -> bool:
    """Whether the server needs the nodes' replies one by one.

    Raises:
        DataError: they would be rounded, whose errors each node would have to keep.
    """
    updates = plan.updates
    separate = attack is not None or updates.aggregation != "mean" or updates.clip == "adaptive"
    if separate and updates.precision != "float32":
        raise DataError(
            f"precision is {updates.precision} with aggregation {updates.aggregation}, clip {updates.clip} or an "
            "attack: a simulation looks at replies one by one in float32 alone"
        )
    return separate


def _on_one_node(plan: TrainingPlan) -> TrainingPlan:
    """The plan with a single node for all users, if each user would be a node of its own.

    The plan stays as it is if each node rounds its own update, or noise is drawn for each of them.
    """
    if plan.cohort.nodes is not None or plan.updates.precision != "float32" or plan.privacy.is_on:
        return plan
    return replace(plan, cohort=CohortPlan(size=1, users_per_node=settled(plan).cohort))


def _message_handler(
    engine: Engine, population: Population, nodes: int, validation: Validator | None, start: Tree
) -> MessageHandler:
    if validation is None:
        return answer_with(engine, population, nodes, start=start)
    metric = validation.metric
    return answer_with(engine, population, nodes, validation.population, {metric.name: metric}, start=start)


@contextmanager
def _quiet_flower() -> Iterator[None]:
    """Silence Flower, which logs every round at INFO to the standard error of its import."""
    logger = logging.getLogger("flwr")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def check_backend(backend: str) -> None:
    """Raise an error unless `backend` is "inprocess" or "ray".

    Raises:
        UnknownNameError: another name.
    """
    if backend not in ("inprocess", "ray"):
        raise UnknownNameError("backend", backend, ("inprocess", "ray"))
