"""Bytes of a round's updates in float16 and int8 with error feedback, and what rounding costs people never seen.

Every user is a participant of its own and rounds its own update. A pair is a seed: the same experiment trained on full
and on rounded updates.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from tegu.bench.harness.comparison import Comparison
from tegu.bench.harness.options import Request, chosen

from tegu.core.compression.precision import Precision
from tegu.sim.data.trials import draw_trials
from tegu.sim.engine.predictions import score
from tegu.sim.experiments import EXPERIMENTS, Experiment
from tegu.sim.run import run_plan

__all__ = ["bench_wire"]

_WORKS = ("sine", "movielens")
_ROUNDED: tuple[Precision, ...] = ("float16", "int8")
_K = 10


class _Outcome(NamedTuple):
    received: float  # bytes a round
    metric: float  # of held-out people after ten interactions


def bench_wire(request: Request) -> list[Comparison]:
    """Compare precisions of updates.

    Raises:
        UnknownNameError: a work that is no experiment of this benchmark.
    """
    found: list[Comparison] = []
    for work in chosen("work", _WORKS, request.works):
        runs: dict[Precision, list[_Outcome]] = {precision: [] for precision in ("float32", *_ROUNDED)}
        for seed in range(request.pairs):
            experiment = EXPERIMENTS[work](seed=seed)
            for precision, outcomes in runs.items():
                outcomes.append(_outcome(experiment, precision))
                request.say(f"{work}, seed {seed}, {precision}: {outcomes[-1].received:,.0f} bytes a round, "
                            f"{experiment.metric.name} {outcomes[-1].metric:.4f}")  # fmt: skip
        for precision in _ROUNDED:
            found += _compared(f"{work}-{precision}", experiment, runs[precision], runs["float32"])
    return found


def _outcome(experiment: Experiment, precision: Precision) -> _Outcome:
    own = experiment.plan
    updates, calibration = replace(own.updates, precision=precision), replace(own.calibration, ks=(_K,))
    plan = replace(own, updates=updates, calibration=calibration)
    run = run_plan(experiment.population, experiment.learner, plan)
    received = run.trained.received / plan.rounds
    if precision == "float32":
        received *= plan.cohort.size  # one reply stood for all participants, whose own are of the same size
    trials = draw_trials(run.split.heldout, _K, plan.seed + 1)
    metric = float(score(run.personalised(_K), trials, run.metric).mean())
    return _Outcome(received, metric)


def _compared(work: str, experiment: Experiment, ours: list[_Outcome], full: list[_Outcome]) -> list[Comparison]:
    name = experiment.metric.name
    error = (lambda value: 1 - value) if experiment.metric.higher_is_better else float
    figures = [[error(each.metric) for each in side] for side in (ours, full)]
    return [
        Comparison(work, "float32", "bytes", "B", [each.received for each in ours], [each.received for each in full]),
        Comparison(work, "float32", f"1 - {name}" if experiment.metric.higher_is_better else name, "", *figures),
    ]
