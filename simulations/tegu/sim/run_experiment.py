"""An experiment from its name to `runs/<name>/`: bundle, `metrics.json`, report, checkpoints."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tegu.core.bundle.manifest import ScheduleEntry
from tegu.core.compression.precision import Precision, check_precision
from tegu.core.errors import FileError
from tegu.core.files import atomic_write, make_folder
from tegu.core.process import peak_memory
from tegu.learners.algorithms.mixture.mixture import mixture
from tegu.server.evaluation.decline import decline_as_json
from tegu.server.evaluation.validation import decline_of
from tegu.server.progress import SILENT, Progress
from tegu.server.training.checkpoint import remove_checkpoints
from tegu.sim.engine import MEMORY, EngineKind
from tegu.sim.evaluation.baselines import comparators
from tegu.sim.evaluation.drift_replay import follow
from tegu.sim.evaluation.heldout import Judgement, judge
from tegu.sim.evaluation.storage_cost import judge_stored
from tegu.sim.experiments.experiment import Experiment
from tegu.sim.reporting.example_person import write_person
from tegu.sim.reporting.report import render_report
from tegu.sim.run import Run, run_plan, with_heldout
from tegu.sim.training.cross_fitting import resolve_folds
from tegu.sim.training.in_process import Backend

__all__ = ["Outcome", "run_experiment"]


class Outcome(NamedTuple):
    """A finished experiment."""

    run: Run
    metrics: dict[str, Any]


def run_experiment(
    experiment: Experiment,
    folder: Path,
    progress: Progress = SILENT,
    *,
    backend: Backend = "inprocess",
    engine: EngineKind | Literal["auto"] = "onnx",
    memory: int = MEMORY,
    resume: bool = False,
    precision: Precision = "float32",
) -> Outcome:
    """Train, compare, judge, and write the run's folder.

    Args:
        experiment: what to run.
        folder: written to; made where it is absent.
        progress: told how the work goes.
        backend: see `run_plan`, as for engine and memory.
        engine: what computes updates.
        memory: bytes that users in work may take.
        resume: go on from the folder's last checkpoint; otherwise checkpoints of an earlier run are removed.
        precision: what `init.tegu` stores float32 parameters as. Where that is not float32, what they lose by it is in
            the metrics, and the bundle's held-out results are those of the restored parameters.

    Raises:
        FileError: the folder cannot be written.
        DataError: a parameter with a value that the precision cannot hold.
        TeguError: as `run_plan`.
    """
    check_precision(precision)
    _prepare(folder, resume)
    plan = resolve_folds(experiment.plan, experiment.population, backend)
    learner = mixture(experiment.learner, experiment.initialisations)
    folds = plan.calibration.folds or 0
    often = f"{folds + 1} times " if folds else ""
    progress.stage(f"{learner.name}: compiling graphs, then {often}{plan.rounds} rounds")
    run = run_plan(
        experiment.population,
        learner,
        plan,
        backend=backend,
        engine=engine,
        memory=memory,
        checkpoints=folder / "checkpoints",
        progress=progress,
    )
    baselines = comparators(experiment, run, progress) if experiment.streams is None else {}
    progress.stage("judging on people never seen in training")
    judgement = judge(run, baselines)
    metrics, curve = _metrics(experiment, run, judgement, backend), judgement.curve
    if experiment.streams is not None:
        progress.stage("replaying people whose taste changes")
        metrics["drift"] = follow(run, experiment.streams)
    if precision != "float32":
        curve, metrics["precision"] = judge_stored(run, curve, precision)
    run = with_heldout(run, curve)
    run.write(folder / "init.tegu", precision=precision)
    atomic_write(folder / "metrics.json", json.dumps(metrics, indent=1).encode())
    if experiment.titles:
        write_person(run, experiment.titles, folder)
    report = render_report(metrics, run.trained.validations, judgement.gains, judgement.reliability)
    atomic_write(folder / "report.html", report.encode())
    return Outcome(run, metrics)


def _prepare(folder: Path, resume: bool) -> None:
    make_folder(folder)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass  # it can be written to: better known before training than after
        if not resume:
            remove_checkpoints(folder / "checkpoints")
    except OSError as error:
        raise FileError(f"cannot write to {folder} ({error.strerror or error}): choose a writable folder") from error


def _metrics(experiment: Experiment, run: Run, judgement: Judgement, backend: Backend) -> dict[str, Any]:
    trained = run.trained
    return {
        "experiment": experiment.name,
        "learner": run.learner.name,
        "initialisations": run.bundle.manifest.training["initialisations"],
        "backend": backend,
        "engine": run.engine.backend.name,
        "seed": run.plan.seed,
        "rounds": run.plan.rounds,
        "cohort": run.plan.cohort.size,
        "folds": run.plan.calibration.folds or 0,
        "train_users": len(run.split.train),
        "calibration_users": len(run.split.calibration),
        "heldout_users": len(run.split.heldout),
        "kept_round": trained.kept,
        "metric": run.metric.name,
        "higher_is_better": run.metric.higher_is_better,
        "schedule": [_shown(entry) for entry in run.bundle.manifest.schedule],
        "curve": judgement.curve,
        "training_gap": run.judged.as_json() if run.judged else {},
        "decline": decline_as_json(
            decline_of(trained.validations, run.metric.higher_is_better), run.metric.name, trained.kept
        ),
        "train_seconds": round(trained.seconds, 2),
        "user_rounds_per_second": round(trained.user_rounds / max(trained.seconds, 1e-9), 1),
        "peak_rss_mb": round(peak_memory(), 1),
        "meta": run.bundle.manifest.training["meta"],
    }


def _shown(entry: ScheduleEntry) -> dict[str, Any]:
    return {name: value for name, value in entry._asdict().items() if name != "losses"}  # a hundred numbers
