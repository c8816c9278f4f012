"""A federation on a simulated clock, whose nodes are functions: slow, failing or away."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flwr.app import Message
from tests.server.fake import Node, Recorded, answer_by, random_tree, run_rounds

from tegu.server.rounds.buffered import BufferedRounds
from tegu.server.rounds.reliability import Reliability
from tegu.server.rounds.reply_plan import ReplyPlan
from tegu.server.rounds.synchronous import SynchronousRounds
from tegu.server.training.outer_optimiser import OuterOptimiser, OuterRule
from tegu.server.training.plan import CohortPlan, TrainingPlan, UpdatePlan
from tegu.server.training.strategy import MetaStrategy
from tegu.sim.federation.clocked_grid import ClockedGrid, SimulatedClock

META = random_tree(0)
NEVER = math.inf


class Watched(ClockedGrid):
    """Remembers whom each message was for, when, and of which round it was."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.sent: list[tuple[int, int, float]] = []

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        batch = list(messages)
        self.sent += [(int(m.metadata.group_id), m.metadata.dst_node_id, self.clock.now()) for m in batch]
        return super().push_messages(batch)

    def asked_in(self, number: int) -> list[int]:
        return [node for group, node, _ in self.sent if group == number]


@dataclass
class Ran:
    """A run that has ended."""

    outer: OuterOptimiser
    strategy: MetaStrategy
    grid: Watched
    said: list[str]
    journal: list[dict[str, Any]]
    ended: list[float]

    @property
    def rounds(self) -> list[dict[str, Any]]:
        return [entry.as_json() for entry in self.strategy.round_log.rounds]


@dataclass
class Federation:
    """How a federation is made.

    Attributes:
        nodes: by id from 1, without gaps.
        replies: of the plan.
        cohort: of the plan.
        seconds: how long a node takes.
        is_connected: whether a node is there.
    """

    nodes: Mapping[int, Node]
    replies: ReplyPlan
    cohort: int
    seconds: Callable[[int, float], float] = lambda node, now: 1.0
    is_connected: Callable[[int, float], bool] = lambda node, now: True
    wait_seconds: float = 60.0
    clip: float | str = math.inf
    rule: OuterRule = field(default_factory=lambda: OuterRule("SGD", 0.5))
    seed: int = 3
    made: list[Ran] = field(default_factory=list)

    def run(
        self,
        rounds: int,
        *,
        folder: Path | None = None,
        outer: OuterOptimiser | None = None,
        done: int = 0,
        clip: float = math.inf,
        reliability: Reliability | None = None,
        clock: SimulatedClock | None = None,
    ) -> Ran:
        plan = TrainingPlan(
            rounds=rounds + done,
            seed=self.seed,
            cohort=CohortPlan(self.cohort, wait_seconds=self.wait_seconds),
            updates=UpdatePlan(clip=self.clip),  # type: ignore[arg-type]
            replies=self.replies,
        )
        grid = Watched(len(self.nodes), answer_by(self.nodes), self.seconds, self.is_connected, clock)
        outer = outer or OuterOptimiser(META, self.rule, rounds + done)
        said: list[str] = []
        kind = BufferedRounds if self.replies.buffer else SynchronousRounds
        conductor = kind(
            grid,
            self.replies,
            self.cohort,
            self.seed,
            wait_seconds=self.wait_seconds,
            reliability=reliability,
            clock=grid.clock,
            tell=said.append,
        )
        ended: list[float] = []
        journal: list[dict[str, Any]] = []
        recorded = Recorded(lambda progress: ended.append(grid.clock.now()))
        strategy = MetaStrategy(
            outer,
            plan,
            checkpoints=folder,
            done=done,
            clip=clip,
            progress=recorded,
            journal=journal.append,
            rounds=conductor,
        )
        ran = Ran(outer, strategy, grid, said, journal, ended)
        self.made.append(ran)
        run_rounds(strategy, grid, META, rounds)
        return ran


def slow(nodes: Sequence[int], seconds: float, others: float = 1.0) -> Callable[[int, float], float]:
    """These nodes take so long, and others as long as that."""
    return lambda node, now: seconds if node in nodes else others
