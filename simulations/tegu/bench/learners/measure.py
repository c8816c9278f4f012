"""Measure one learner on one task: `python -m tegu.bench.learners.measure '{"task": ..., "learner": ...}' FILE`.

A process of its own, so that its peak memory is that of one learner. The result is a JSON object: that of `Measured`,
or `{"refused": why}` if the learner is not for this task.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from tegu.bench.learners.tasks import Request, build_task
from tegu.client.runtimes.onnx_runtime import OnnxRuntime
from tegu.core.bundle.manifest import knobs_for
from tegu.core.errors import DataError
from tegu.core.files import atomic_write
from tegu.core.process import peak_memory
from tegu.core.sampling.keyed_random import keyed_rng
from tegu.core.sampling.trials import trial_noise
from tegu.server.training.automatic import settled
from tegu.sim.data.trials import draw_trials
from tegu.sim.evaluation.bootstrap import mean_interval
from tegu.sim.evaluation.heldout import evaluate_heldout
from tegu.sim.experiments.experiment import Experiment
from tegu.sim.run import Run, run_plan

__all__ = ["Measured", "measure"]

_CALLS = 30  # of the device, whose median counts


class Measured(NamedTuple):
    """What a learner did on a task.

    Attributes:
        task: name of the experiment.
        learner: name of the learner.
        seed: of the run.
        rounds: of training.
        metric: name of the metric.
        shots: for each number of interactions `k`: `users`, `initialisation`, `personalised` with the ends `low` and
            `high` of its 95% confidence interval over users, `hurt`, the share that is materially hurt, and
            `uncertainty` as `metrics.json` has it.
        adapt_ms: milliseconds of one adaptation on a device, at the largest k; without loading.
        bundle_bytes: of the file.
        memory_mib: peak memory of the process until the end of training.
        update_bytes: of a round's update.
        train_seconds: of processor time.
    """

    task: str
    learner: str
    seed: int
    rounds: int
    metric: str
    shots: list[dict[str, Any]]
    adapt_ms: float
    bundle_bytes: int
    memory_mib: float
    update_bytes: float
    train_seconds: float


def measure(request: Request, bundle: Path) -> Measured:
    """Train, calibrate and evaluate; write the bundle to learn its size.

    Raises:
        DataError: the learner is not for this task.
        TeguError: as `run_plan`.
    """
    experiment = build_task(request)
    began = time.process_time()
    run = run_plan(experiment.population, experiment.learner, experiment.plan, engine=experiment.engine)
    seconds, memory = time.process_time() - began, peak_memory()
    run.write(bundle)
    return Measured(
        request.task,
        run.learner.name,
        request.seed,
        settled(run.plan).rounds,
        run.metric.name,
        _shots(run, experiment),
        _adapt_milliseconds(run),
        bundle.stat().st_size,
        round(memory, 1),
        run.trained.received / max(1, settled(run.plan).rounds),
        round(seconds, 2),
    )


def _shots(run: Run, experiment: Experiment) -> list[dict[str, Any]]:
    results, found = evaluate_heldout(run, {}, experiment.draws), []
    for entry in results.curve:
        scores = results.personalised[entry["k"]]
        low, high = mean_interval(scores, keyed_rng("bench learners", run.plan.seed, entry["k"]))
        kept = {name: entry[name] for name in ("k", "users", "initialisation", "personalised")}
        spread = entry.get("uncertainty", {})
        found.append({**kept, "low": low, "high": high, "hurt": entry["materially_hurt"], "uncertainty": spread})
    return found


def _adapt_milliseconds(run: Run) -> float:
    runtime, k = OnnxRuntime(run.bundle.graphs), run.ks[-1]
    trial = draw_trials(run.split.heldout, k, run.plan.seed + 1, 1).trials[0]
    noise, knobs = trial_noise(trial, run.bundle.manifest.noise), knobs_for(run.bundle.manifest, k)
    times = []
    for _ in range(_CALLS + 1):
        began = time.perf_counter()
        runtime.adapt(run.bundle.meta, trial.support, knobs, noise)
        times.append(time.perf_counter() - began)
    return 1000 * float(median(times[1:]))  # the first call loads the graph


def _main(text: str, path: Path) -> None:
    given = json.loads(text)
    omniglot = dict(given.get("omniglot", {}))
    if "data" in omniglot:
        omniglot["data"] = Path(omniglot["data"])
    request = Request(**{**given, "omniglot": omniglot})
    try:
        found: dict[str, Any] = measure(request, path.with_suffix(".tegu"))._asdict()
    except DataError as error:
        found = {"task": request.task, "learner": request.learner, "seed": request.seed, "refused": str(error)}
    atomic_write(path, json.dumps(found, indent=1, default=np.ndarray.tolist).encode())


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]))
