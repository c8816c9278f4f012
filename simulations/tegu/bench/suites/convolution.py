"""The compiler's convolutions against sliding ones: the FEMNIST network's graphs, one thread, one process.

    adapt        5 SGD steps on 20 rows, minimal filtering against sliding
    predict-20   predictions of 20 rows, minimal filtering against sliding
    predict-1    prediction of one row, sliding against minimal filtering

A time is seconds a call. Where a ratio falls to 1, that part of the compiler is no longer worth its lines.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from tegu.bench.harness.comparison import Comparison
from tegu.bench.harness.options import BenchmarkOptions, select_names
from tegu.bench.tasks.catalogue import synthetic_task
from tegu.bench.tasks.learners import make_learner
from tegu.bench.tasks.task import Task, TaskSettings
from tegu.client.runtimes.onnx_runtime import OnnxRuntime
from tegu.compile.device import device_plan
from tegu.compile.graphs import PREDICT_FEW, Plan, compile_graphs
from tegu.compile.operators.convolution.sliding import sliding
from tegu.core.data.batch import Array, full_batch
from tegu.core.errors import RuntimeFailure
from tegu.learners.threads import one_thread

__all__ = ["bench_convolution"]

_Run: TypeAlias = Callable[[OnnxRuntime, Task], Mapping[str, Array]]
_AGREEMENT = 1e-3  # of adapted parameters and outputs, which the compiler has compared with torch more closely


@dataclass(frozen=True)
class _Case:
    """Two variants of the graphs, and a call that they take.

    Attributes:
        ours: the variant that a bundle runs for the call.
        other: the alternative.
        run: the call.
        calls: of one timed repetition.
    """

    ours: str
    other: str
    run: _Run
    calls: int


def _adapt(runtime: OnnxRuntime, task: Task) -> Mapping[str, Array]:
    settings = task.settings
    knobs = {"steps": float(settings.steps), "lr": settings.lr, "prior": settings.prior}
    return runtime.adapt(task.init, full_batch(task.x, task.y), knobs)


def _predict(rows: int) -> _Run:
    return lambda runtime, task: {"output": runtime.predict(task.init, task.init, task.x[:rows])}


_CASES = {
    "adapt": _Case("bundle", "sliding", _adapt, 5),
    "predict-20": _Case("bundle", "sliding", _predict(20), 40),
    "predict-1": _Case("bundle", "filtering", _predict(1), 400),
}


def bench_convolution(options: BenchmarkOptions) -> list[Comparison]:
    """Compare variants of the graphs, pair by pair; one more of each goes first.

    Raises:
        UnknownNameError: no task has that name.
        RuntimeFailure: two variants disagree.
    """
    cases = {name: _CASES[name] for name in select_names("task", _CASES, options.tasks)}
    task = synthetic_task(TaskSettings("convolution", "cnn", steps=5, lr=0.02), [20])
    runtimes = _variants(device_plan(make_learner(task.settings)), options)
    return [_compared(name, case, runtimes, task, options) for name, case in cases.items()]


def _variants(plan: Plan, options: BenchmarkOptions) -> dict[str, OnnxRuntime]:
    """What a bundle holds, all by minimal filtering, and all by sliding."""
    filtering = {name: function for name, function in plan.traced.items() if name != PREDICT_FEW}
    slid = {name: sliding(function) for name, function in filtering.items()}
    runtimes = {}
    for name, traced in (("bundle", plan.traced), ("filtering", filtering), ("sliding", slid)):
        options.log(f"compiling: {name}")
        with one_thread():
            runtimes[name] = OnnxRuntime(compile_graphs(replace(plan, traced=traced), ("adapt", "predict")))
    return runtimes


def _compared(
    name: str, case: _Case, runtimes: Mapping[str, OnnxRuntime], task: Task, options: BenchmarkOptions
) -> Comparison:
    ours, other = list[float](), list[float]()
    _check_agreement(*(case.run(runtimes[variant], task) for variant in (case.ours, case.other)))
    for pair in range(options.pairs + 1):
        seconds = [_seconds(case, runtimes[variant], task) for variant in (case.ours, case.other)]
        options.log(f"{name}, pair {pair}: {case.ours} {seconds[0]:.2e} s, {case.other} {seconds[1]:.2e} s")
        if pair:
            ours.append(seconds[0])
            other.append(seconds[1])
    return Comparison(name, case.other, "time", "s", ours, other)


def _seconds(case: _Case, runtime: OnnxRuntime, task: Task) -> float:
    began = time.perf_counter()
    for _ in range(case.calls):
        case.run(runtime, task)
    return (time.perf_counter() - began) / case.calls


def _check_agreement(ours: Mapping[str, Array], other: Mapping[str, Array]) -> None:
    worst = max(float(np.abs(ours[name] - other[name]).max()) for name in other)
    if not worst < _AGREEMENT:
        raise RuntimeFailure(f"two variants differ by {worst:.1e}, more than {_AGREEMENT}: one of them is wrong")
