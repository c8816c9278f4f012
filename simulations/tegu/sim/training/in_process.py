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

from tegu.core.bundle.manifest import Knobs
from tegu.core.calibration.evaluation_request import Inquiry
from tegu.core.calibration.selection import RISK
from tegu.core.compression.precision import Precision
from tegu.core.data.tree import Tree
from tegu.core.errors import PopulationError, UnknownNameError
from tegu.core.metrics import Metric
from tegu.core.sampling.episode import EpisodeRule, too_few
from tegu.core.sampling.trials import DRAWS
from tegu.server.evaluation.round import ask
from tegu.server.evaluation.validation import Best, Look, LookRule, Looks, look_of, look_questions
from tegu.server.training.checkpoint import latest_checkpoint
from tegu.server.training.outer_optimiser import OuterOptimiser, OuterRule
from tegu.server.training.strategy import MetaStrategy, RoundSettings
from tegu.sim.data.population import Population
from tegu.sim.engine import Engine
from tegu.sim.federation.grid import Answer, InProcessGrid, answer_with, flower_identity
from tegu.wire import to_record

__all__ = [
    "Backend",
    "OnProgress",
    "Progress",
    "Trained",
    "TrainingPlan",
    "Validation",
    "check_cohort",
    "train_in_process",
]

Backend: TypeAlias = Literal["inprocess", "ray"]
_LOOKS = 20  # in a run whose plan does not say


class Progress(NamedTuple):
    """Where a training run is.

    Attributes:
        round: rounds done.
        rounds: of the whole run.
        user_rounds: users' updates since the run began or was resumed.
        seconds: since then.
        meta: parameters now.
        look: the latest at them; None where nobody looks.
    """

    round: int
    rounds: int
    user_rounds: int
    seconds: float
    meta: Tree
    look: Look | None = None


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
        look_every: rounds from one look at the parameters to the next; 0 for about twenty looks in a run.
        patience: so many looks in turn without a better one end the run, and the best one's parameters are kept; 0
            for all rounds, and the last one's.
        risk: the largest share of people that a way to adapt may hurt, by what calibration users show.
        folds: everybody who is not held out trains and calibrates, in so many folds and as many trainings more
            (`tegu.sim.training.cross_fitting`); 0 for calibration users apart, who never train.
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
    look_every: int = 0
    patience: int = 0
    risk: float = RISK
    folds: int = 0

    def look_rule(self, metric: Metric) -> LookRule:
        """When to look, and when to stop."""
        return LookRule(self.look_every or max(1, self.rounds // _LOOKS), self.patience, metric.higher_is_better)

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
    looks: tuple[Look, ...] = ()


class Validation(NamedTuple):
    """Who looks at the parameters while a run goes on.

    Attributes:
        people: calibration users.
        metric: what they judge by.
        k: interactions they adapt on.
        knobs: by which they do: the learner's own.
    """

    people: Population
    metric: Metric
    k: int
    knobs: Knobs

    def inquiry(self, seed: int, draws: int = 1) -> Inquiry:
        """What a look asks."""
        questions = look_questions(self.k, self.knobs, draws)
        return Inquiry(self.metric.name, seed, 0.0, {**self.knobs, "steps": 0.0}, questions)

    def looks(self, plan: TrainingPlan, best: Best | None) -> Looks:
        """The looks of a plan's run."""
        rule, kept = plan.look_rule(self.metric), best if plan.patience else None
        return Looks(rule, self.inquiry(plan.seed), plan.rounds, kept)

    def judged(self, engine: Engine, training: Population, trained: Trained, seed: int) -> Look | None:
        """A closer look at what was trained: how calibration users, and others who trained, do by it."""
        grid = InProcessGrid(1, _answer(engine, training, 1, self))
        with flower_identity():
            answers = ask(grid, to_record(trained.meta), self.inquiry(seed, DRAWS), "validation")
        return look_of(trained.kept, answers, self.metric.higher_is_better)


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
    engine: Engine,
    population: Population,
    meta: Tree,
    plan: TrainingPlan,
    on_progress: OnProgress | None = None,
    validation: Validation | None = None,
) -> Trained:
    """Run the plan's rounds in this process.

    Args:
        engine: runs the learner.
        population: training users.
        meta: where to start, unless the plan's checkpoints hold a later state.
        plan: how to train.
        on_progress: called after every round, and after a look at it.
        validation: who looks at the parameters while the run goes on; None for nobody, and then the plan's patience
            means nothing.

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
    looks = validation.looks(plan, checkpoint.best if checkpoint else None) if validation else None
    began, user_rounds = time.perf_counter(), 0

    def on_round(number: int, current: Tree, users: int) -> None:
        nonlocal user_rounds
        user_rounds += users
        if on_progress is not None:
            latest = looks.found[-1] if looks and looks.found else None
            on_progress(Progress(number, plan.rounds, user_rounds, time.perf_counter() - began, current, latest))

    strategy = MetaStrategy(
        outer, plan.settings, checkpoints=plan.checkpoints, done=done, on_round=on_round, looks=looks
    )
    received = 0
    if done < plan.rounds:
        with flower_identity(), _quiet_flower():
            grid = InProcessGrid(nodes, _answer(engine, population, nodes, validation))
            result = strategy.start(grid, to_record(outer.meta), num_rounds=plan.rounds - done)
            received = sum(int(str(metrics["bytes"])) for metrics in result.train_metrics_clientapp.values())
    kept, found = strategy.kept
    seconds = time.perf_counter() - began - (looks.seconds if looks else 0.0)
    return Trained(found, seconds, user_rounds, received, kept, tuple(looks.found) if looks else ())


def _answer(engine: Engine, population: Population, nodes: int, validation: Validation | None) -> Answer:
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
