"""The choice of how to adapt for each number of interactions, by evaluation rounds of the in-process grid.

The requests, the sums in the replies and the choice are those of a real federation (`tegu.core.calibration`,
`tegu.server.calibration.schedule`). Only adaptation and prediction are batched over users.
"""

from __future__ import annotations

from collections.abc import Sequence

from tegu.core.bundle.manifest import ScheduleEntry
from tegu.core.calibration.evaluation_request import CandidateSet, EvaluationRequest, MetricSums, add_sums
from tegu.core.calibration.selection.limits import Limits
from tegu.core.data.tree import trained_part
from tegu.core.metrics import Metric
from tegu.server.calibration.schedule import find_schedule
from tegu.server.evaluation.round import run_evaluation_round
from tegu.sim.calibration.conformal_losses import support_losses
from tegu.sim.data.trials import draw_trials
from tegu.sim.engine import Engine
from tegu.sim.federation.grid import InProcessGrid, answer_with, flower_identity
from tegu.sim.training.cross_fitting import Evaluator
from tegu.wire import to_record

__all__ = ["calibrate"]

_DEFAULT = Limits()


def calibrate(
    engine: Engine,
    evaluators: Sequence[Evaluator],
    ks: Sequence[int],
    metric: Metric,
    seed: int,
    limits: Limits | None = _DEFAULT,
) -> tuple[ScheduleEntry, ...]:
    """For each k the way to adapt with the largest gain that keeps the limits on harm, or none.

    See `find_schedule`. A k for which no calibration user has enough rows is left out. The entries also hold
    calibration users' losses under the initialisation. A federation does not collect these, since its replies are sums
    over users.

    Args:
        engine: runs the learner, whose candidates are tried.
        evaluators: initialisations, each with calibration users that did not train it; never held-out users. Their
            sums are added, and one schedule is chosen for all.
        ks: numbers of interactions.
        metric: the metric to improve.
        seed: decides the trials.
        limits: on harm; None for the rule of `risk="strict"`.

    Raises:
        DataError: as `find_schedule`.
    """
    fixed, metrics = engine.manifest.fixed_parameters, {metric.name: metric}
    grids = [InProcessGrid(1, answer_with(engine, users, 1, users, metrics, start=meta)) for meta, users in evaluators]
    records = [to_record(trained_part(meta, fixed)) for meta, _ in evaluators]

    def evaluate(questions: Sequence[CandidateSet]) -> list[MetricSums]:
        request = EvaluationRequest(metric.name, seed, 0.0, questions)
        return add_sums(
            run_evaluation_round(*each, request, "calibration") for each in zip(grids, records, strict=True)
        )

    def losses(k: int) -> tuple[float, ...]:
        able = [(meta, users) for meta, users in evaluators if (users.max_support >= k).any()]
        return support_losses(engine, ((meta, draw_trials(users, k, seed)) for meta, users in able))

    with flower_identity():
        schedule = find_schedule(evaluate, engine.manifest, ks, limits)
    return tuple(entry._replace(losses=losses(entry.k)) for entry in schedule)
