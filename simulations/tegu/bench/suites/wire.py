"""Bytes of a round's updates in float16 and int8 with error feedback, and the loss of accuracy for held-out users.

Every user is a participant and quantises its own update. A pair is a seed: the same experiment, trained on float32
updates and on quantised ones.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from tegu.bench.harness.comparison import Comparison
from tegu.bench.harness.options import BenchmarkOptions, select_names
from tegu.core.compression.precision import Precision
from tegu.server.training.automatic import settled
from tegu.sim.data.trials import draw_trials
from tegu.sim.engine.predictions import score
from tegu.sim.experiments import EXPERIMENTS, Experiment
from tegu.sim.run import run_plan

__all__ = ["bench_wire"]

_TASKS = ("sine", "movielens")
_QUANTISED: tuple[Precision, ...] = ("float16", "int8")
_K = 10


class _Outcome(NamedTuple):
    received: float  # bytes per round
    metric: float  # of held-out users after ten interactions


def bench_wire(options: BenchmarkOptions) -> list[Comparison]:
    """Compare precisions of updates.

    Raises:
        UnknownNameError: a requested task is not an experiment of this benchmark.
    """
    comparisons: list[Comparison] = []
    for task in select_names("task", _TASKS, options.tasks):
        runs: dict[Precision, list[_Outcome]] = {precision: [] for precision in ("float32", *_QUANTISED)}
        for seed in range(options.pairs):
            experiment = EXPERIMENTS[task](seed=seed)
            for precision, outcomes in runs.items():
                outcomes.append(_outcome(experiment, precision))
                options.log(f"{task}, seed {seed}, {precision}: {outcomes[-1].received:,.0f} bytes per round, "
                            f"{experiment.metric.name} {outcomes[-1].metric:.4f}")  # fmt: skip
        for precision in _QUANTISED:
            comparisons += _comparisons(f"{task}-{precision}", experiment, runs[precision], runs["float32"])
    return comparisons


def _outcome(experiment: Experiment, precision: Precision) -> _Outcome:
    own = experiment.plan
    updates, calibration = replace(own.updates, precision=precision), replace(own.calibration, ks=(_K,))
    plan = replace(own, updates=updates, calibration=calibration)
    run = run_plan(experiment.population, experiment.learner, plan)
    received = run.trained.received / settled(plan).rounds
    if precision == "float32":
        received *= settled(plan).cohort  # one reply stands for all participants; each sends as many bytes
    trials = draw_trials(run.split.heldout, _K, plan.seed + 1)
    metric = float(score(run.personalised(_K), trials, run.metric).mean())
    return _Outcome(received, metric)


def _comparisons(task: str, experiment: Experiment, ours: list[_Outcome], full: list[_Outcome]) -> list[Comparison]:
    name = experiment.metric.name
    error = (lambda value: 1 - value) if experiment.metric.higher_is_better else float
    errors = [[error(each.metric) for each in outcomes] for outcomes in (ours, full)]
    return [
        Comparison(task, "float32", "bytes", "B", [each.received for each in ours], [each.received for each in full]),
        Comparison(task, "float32", f"1 - {name}" if experiment.metric.higher_is_better else name, "", *errors),
    ]
