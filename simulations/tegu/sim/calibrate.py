"""Choosing, for each number of interactions, how to adapt, by evaluation rounds of the in-process grid.

The questions, the sums that answer them and the choice are those of a real federation (`tegu.core.calibration`,
`tegu.server.schedule`); only what adapts and predicts is batched over users.
"""

from __future__ import annotations

from collections.abc import Sequence

from tegu.core.calibration.criterion import RISK
from tegu.core.calibration.question import Answer, Inquiry, Question
from tegu.core.manifest import ScheduleEntry
from tegu.core.metrics import Metric
from tegu.core.tree import Tree
from tegu.learners.learner import Learner
from tegu.server.evaluation import ask
from tegu.server.schedule import find_schedule
from tegu.sim.engine import Engine
from tegu.sim.familiar import support_losses
from tegu.sim.grid import InProcessGrid, answer_with, flower_identity
from tegu.sim.population import Population
from tegu.sim.trials import draw_trials
from tegu.wire import to_record

__all__ = ["calibrate"]


def calibrate(
    engine: Engine,
    meta: Tree,
    learner: Learner,
    people: Population,
    ks: Sequence[int],
    metric: Metric,
    seed: int,
    risk: float = RISK,
) -> tuple[ScheduleEntry, ...]:
    """For each k the way to adapt that gains most and hurts hardly anyone, or none; see `find_schedule`.

    A k that no calibration user has enough rows for is left out. The entries hold how badly the initialisation fits the
    calibration users, too, which a federation does not ask: its answers are sums over users.

    Args:
        engine: runs the learner.
        meta: the initialisation.
        learner: its candidates are tried.
        people: calibration users, never the held-out ones.
        ks: numbers of interactions.
        metric: what to judge by.
        seed: decides the trials.
        risk: the largest share of people that may be hurt.
    """
    still, record = {**learner.knobs, "steps": 0.0}, to_record(meta)
    grid = InProcessGrid(1, answer_with(engine, people, 1, people, {metric.name: metric}))

    def answered(questions: Sequence[Question]) -> list[Answer]:
        return ask(grid, record, Inquiry(metric.name, seed, 0.0, still, questions), "calibration")

    with flower_identity():
        schedule = find_schedule(answered, still, learner.candidates, ks, risk)
    return tuple(
        entry._replace(losses=support_losses(engine, meta, still, draw_trials(people, entry.k, seed)))
        for entry in schedule
    )
