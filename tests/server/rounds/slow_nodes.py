"""What slow nodes cost: time to the same error on a simulated clock, of rounds and of buffered steps.

A fifth of the nodes take ten times as long. Each has one sine wave. Rounds and buffered steps train the same model with
the same outer optimiser, until people who never train reach the same error. Time is that of a simulated clock.
"""

from __future__ import annotations

import math
from statistics import fmean
from typing import NamedTuple

from tests.federation.sine_users import bundle, engine

from tegu.core.data.tree import Tree
from tegu.core.metrics import METRICS
from tegu.core.sampling.episode import EpisodeRule
from tegu.server.progress import RoundProgress, Silent
from tegu.server.rounds.buffered import BufferedRounds
from tegu.server.rounds.reply_plan import ReplyPlan
from tegu.server.rounds.synchronous import SynchronousRounds
from tegu.server.training.outer_optimiser import OuterOptimiser, OuterRule
from tegu.server.training.plan import CohortPlan, TrainingPlan, UpdatePlan
from tegu.server.training.strategy import MetaStrategy
from tegu.sim.data.trials import draw_trials
from tegu.sim.engine.predictions import adapted_predictions, score
from tegu.sim.experiments.sine import sine_population
from tegu.sim.federation.clocked_grid import ClockedGrid
from tegu.sim.federation.grid import answer_with, flower_identity
from tegu.sim.federation.separate_replies import answer_separately
from tegu.wire import to_record

NODES, HELDOUT, ROWS, K = 50, 100, 20, 5
COHORT, BUFFER = 10, 5
FAST, SLOW = 10.0, 100.0  # seconds
_SMOOTHED = 3  # evaluations whose mean must reach the target


class Measured(NamedTuple):
    """A run.

    Attributes:
        times: seconds at each evaluation.
        errors: mean squared error of people who never train, adapted on K rows.
        steps: number of steps at each evaluation.
    """

    times: list[float]
    errors: list[float]
    steps: list[int]

    def smooth(self) -> list[float]:
        return [fmean(self.errors[max(0, place - _SMOOTHED + 1) : place + 1]) for place in range(len(self.errors))]

    def time_to(self, target: float) -> float:
        """Seconds until the error is that low; infinite if it never is."""
        return next((at for at, error in zip(self.times, self.smooth(), strict=True) if error <= target), math.inf)


def measure(replies: ReplyPlan, steps: int, seed: int, *, slow: float = SLOW, every: int = 2) -> Measured:
    """Train so many steps, and evaluate every few of them."""
    people = sine_population(NODES + HELDOUT, ROWS, seed)
    training, heldout = people.subset(range(NODES)), people.subset(range(NODES, NODES + HELDOUT))
    plan = TrainingPlan(
        rounds=steps,
        seed=seed,
        cohort=CohortPlan(COHORT, NODES),
        outer=OuterRule("Adam", 0.02),
        episodes=EpisodeRule(K, K, ROWS),
        updates=UpdatePlan(clip=math.inf),
        replies=replies,
    )
    answer = answer_separately(engine(), training, NODES, answer_with(engine(), training, NODES), {}, None)
    grid = ClockedGrid(NODES, answer, lambda node, now: slow if node % 5 == 0 else FAST)
    kind = BufferedRounds if replies.buffer else SynchronousRounds
    rounds = kind(grid, replies, COHORT, seed, clock=grid.clock)
    found = Measured([], [], [])
    trials = draw_trials(heldout, K, seed, 2)

    def error_of(meta: Tree) -> float:
        method = adapted_predictions(engine(), meta, bundle().manifest.knobs)
        return float(score(method, trials, METRICS["mse"]).mean())

    class Evaluated(Silent):
        def round(self, progress: RoundProgress) -> None:
            if progress.round % every == 0:
                found.times.append(grid.clock.now())
                found.errors.append(error_of(progress.meta))
                found.steps.append(progress.round)

    outer = OuterOptimiser(bundle().meta, plan.outer or OuterRule(), steps)
    strategy = MetaStrategy(outer, plan, rounds=rounds, progress=Evaluated())
    with flower_identity():
        strategy.start(grid, to_record(outer.trained), num_rounds=steps)
    return found


ROUNDS = ReplyPlan(oversampling=1.0)
OVERSAMPLED = ReplyPlan(oversampling=1.3)
BUFFERED = ReplyPlan(buffer=BUFFER)


class Times(NamedTuple):
    """Seconds until rounds, over-sampled rounds and buffered steps reach the error that rounds end with."""

    error: float
    rounds: float
    oversampled: float
    buffered: float


def times(seed: int, rounds: int = 60, *, slow: float = SLOW) -> Times:
    reference = measure(ROUNDS, rounds, seed, slow=slow)
    target = reference.smooth()[-1]
    oversampled = measure(OVERSAMPLED, 3 * rounds, seed, slow=slow)
    buffered = measure(BUFFERED, 5 * rounds, seed, slow=slow)
    return Times(target, *(run.time_to(target) for run in (reference, oversampled, buffered)))
