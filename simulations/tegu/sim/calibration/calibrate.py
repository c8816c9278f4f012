"""Choosing, for each number of interactions, how to adapt, by evaluation rounds of the in-process grid.

The questions, the sums that answer them and the choice are those of a real federation (`tegu.core.calibration`,
`tegu.server.calibration.schedule`); only what adapts and predicts is batched over users.
"""

from __future__ import annotations

from collections.abc import Sequence

from tegu.core.bundle.manifest import ScheduleEntry
from tegu.core.calibration.evaluation_request import CandidateSet, EvaluationRequest, MetricSums, add_sums
from tegu.core.calibration.selection import RISK
from tegu.core.metrics import Metric
from tegu.server.calibration.schedule import find_schedule
from tegu.server.evaluation.round import run_evaluation_round
from tegu.sim.calibration.conformal_losses import support_losses
from tegu.sim.data.trials import draw_trials
from tegu.sim.engine import Engine
from tegu.sim.federation.grid import InProcessGrid, answer_with, flower_identity
from tegu.sim.training.cross_fitting import Judge
from tegu.wire import to_record

__all__ = ["calibrate"]


def calibrate(
    engine: Engine,
    judges: Sequence[Judge],
    ks: Sequence[int],
    metric: Metric,
    seed: int,
    risk: float = RISK,
) -> tuple[ScheduleEntry, ...]:
    """For each k the way to adapt that gains most and hurts hardly anyone, or none; see `find_schedule`.

    A k that no calibration user has enough rows for is left out. The entries hold how badly the initialisation fits the
    calibration users, too, which a federation does not ask: its answers are sums over users.

    Args:
        engine: runs the learner, whose candidates are tried.
        judges: initialisations, and for each of them calibration users, never held-out ones. What they answer is
            summed up, and one schedule chosen for all.
        ks: numbers of interactions.
        metric: what to judge by.
        seed: decides the trials.
        risk: the largest share of people that may be hurt.
    """
    grids = [InProcessGrid(1, answer_with(engine, people, 1, people, {metric.name: metric})) for _, people in judges]
    records = [to_record(meta) for meta, _ in judges]

    def answered(questions: Sequence[CandidateSet]) -> list[MetricSums]:
        inquiry = EvaluationRequest(metric.name, seed, 0.0, questions)
        return add_sums(
            run_evaluation_round(*each, inquiry, "calibration") for each in zip(grids, records, strict=True)
        )

    def losses(k: int) -> tuple[float, ...]:
        able = [(meta, people) for meta, people in judges if (people.most >= k).any()]
        return support_losses(engine, ((meta, draw_trials(people, k, seed)) for meta, people in able))

    with flower_identity():
        schedule = find_schedule(answered, engine.manifest, ks, risk)
    return tuple(entry._replace(losses=losses(entry.k)) for entry in schedule)
