"""Meta-training over a population: the same strategy in this process, or on Flower's Ray simulation."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from tegu.core.episode import EpisodeRule, too_few
from tegu.core.errors import PopulationError, UnknownNameError
from tegu.core.precision import Precision
from tegu.core.tree import Tree
from tegu.server.checkpoint import latest_checkpoint
from tegu.server.outer import OuterOptimiser, OuterRule
from tegu.server.strategy import MetaStrategy, RoundSettings
from tegu.sim.engine import Engine
from tegu.sim.grid import InProcessGrid, answer_with, flower_identity
from tegu.sim.population import Population
from tegu.wire import to_record

__all__ = ["Backend", "OnProgress", "Progress", "Trained", "TrainingPlan", "check_cohort", "train_in_process"]

Backend: TypeAlias = Literal["inprocess", "ray"]


class Progress(NamedTuple):
    """Where a training run is.

    Attributes:
        round: rounds done.
        rounds: of the whole run.
        user_rounds: users' updates since the run began or was resumed.
        seconds: since then.
        meta: parameters now.
    """

    round: int
    rounds: int
    user_rounds: int
    seconds: float
    meta: Tree


OnProgress: TypeAlias = Callable[[Progress], None]


@dataclass(frozen=True)
class TrainingPlan:
    """How to train.

    Attributes:
        rounds: of the whole run.
        cohort: nodes a round, or users where `nodes` is None.
        seed: decides the first parameters, cohorts and episodes.
        outer: the outer optimiser.
        rule: how much of a user becomes support and query.
        clip: largest norm of one user's update; infinite for none.
        nodes: participants that the users are dealt out to; None for each user a participant.
        updates: precision of the participants' updates: "float32", or "float16" or "int8" with error feedback.
        checkpoints: folder for a checkpoint after every round, from which a run is resumed; None for none.
    """

    rounds: int
    cohort: int
    seed: int = 0
    outer: OuterRule = field(default_factory=OuterRule)
    rule: EpisodeRule = field(default_factory=EpisodeRule)
    clip: float = math.inf
    nodes: int | None = None
    updates: Precision = "float32"
    checkpoints: Path | None = None

    @property
    def hosted(self) -> bool:
        """Whether in this process one node stands for all users; not where each rounds its own update."""
        return self.nodes is None and self.updates == "float32"

    @property
    def settings(self) -> RoundSettings:
        """The plan as the strategy wants it in this process."""
        nodes, users = (1, self.cohort) if self.hosted else (self.cohort, 0)
        return RoundSettings(nodes, self.seed, self.clip, self.rule, users, self.updates)


class Trained(NamedTuple):
    """What training gave.

    Attributes:
        meta: the initialisation.
        seconds: wall time of the rounds.
        user_rounds: users' updates in all.
        received: bytes of the participants' updates; 0 where nobody counted.
    """

    meta: Tree
    seconds: float
    user_rounds: int
    received: int = 0


def check_cohort(population: Population, plan: TrainingPlan) -> int:
    """The number of participants, once the plan fits the population.

    Raises:
        PopulationError: fewer users than nodes, fewer nodes than the cohort, or nobody with enough rows.
    """
    nodes = len(population) if plan.nodes is None else plan.nodes
    if nodes > len(population) or plan.cohort > nodes:
        raise PopulationError(
            f"the cohort is {plan.cohort} of {nodes} nodes and there are {len(population)} training users: "
            "expected cohort <= nodes <= users; make the cohort smaller or bring more users"
        )
    worst = int(population.most.argmin())
    if plan.nodes is None and population.most[worst] < plan.rule.min_support:
        wrong = too_few(int(population.counts[worst]), int(population.most[worst]), plan.rule.min_support)
        raise PopulationError(f"user {population.users[worst]} has {wrong}; see population.with_rows")
    return nodes


def train_in_process(
    engine: Engine, population: Population, meta: Tree, plan: TrainingPlan, on_progress: OnProgress | None = None
) -> Trained:
    """Run the plan's rounds in this process.

    Args:
        engine: runs the learner.
        population: training users.
        meta: where to start, unless the plan's checkpoints hold a later state.
        plan: how to train.
        on_progress: called after every round.

    Raises:
        PopulationError: as `check_cohort`.
        FederationError: a checkpoint that cannot be used, or an update that is not finite.
    """
    participants = check_cohort(population, plan)
    nodes = 1 if plan.hosted else participants
    checkpoint = latest_checkpoint(plan.checkpoints) if plan.checkpoints else None
    outer = OuterOptimiser(checkpoint.meta if checkpoint else meta, plan.outer, plan.rounds)
    if checkpoint:
        outer.restore(checkpoint.outer)
    done = checkpoint.round if checkpoint else 0
    began, user_rounds = time.perf_counter(), 0

    def on_round(number: int, current: Tree, users: int) -> None:
        nonlocal user_rounds
        user_rounds += users
        if on_progress is not None:
            on_progress(Progress(number, plan.rounds, user_rounds, time.perf_counter() - began, current))

    strategy = MetaStrategy(outer, plan.settings, checkpoints=plan.checkpoints, done=done, on_round=on_round)
    received = 0
    if done < plan.rounds:
        with flower_identity(), _quiet_flower():
            grid = InProcessGrid(nodes, answer_with(engine, population, nodes))
            result = strategy.start(grid, to_record(outer.meta), num_rounds=plan.rounds - done)
            received = sum(int(str(metrics["bytes"])) for metrics in result.train_metrics_clientapp.values())
    return Trained(outer.meta, time.perf_counter() - began, user_rounds, received)


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
