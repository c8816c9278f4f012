"""Run an experiment and write its folder: bundle, `metrics.json`, report and checkpoints."""

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
from tegu.server.evaluation.early_stopping import decline_of
from tegu.server.progress import SILENT, Progress
from tegu.server.training.checkpoint import remove_checkpoints
from tegu.sim.engine import MEMORY, EngineKind
from tegu.sim.evaluation.baselines import run_baselines
from tegu.sim.evaluation.drift_replay import replay_drift
from tegu.sim.evaluation.heldout import HeldoutResults, evaluate_heldout
from tegu.sim.evaluation.storage_cost import storage_cost
from tegu.sim.experiments.experiment import Experiment
from tegu.sim.reporting.example_person import write_example_person
from tegu.sim.reporting.report import render_report
from tegu.sim.run import Run, run_plan, with_results
from tegu.sim.training.cross_fitting import resolve_folds
from tegu.sim.training.in_process import Backend

__all__ = ["Outcome", "run_experiment"]


class Outcome(NamedTuple):
    """A finished experiment.

    Attributes:
        run: the run of the experiment's learner.
        metrics: the contents of `metrics.json`.
    """

    run: Run
    metrics: dict[str, Any]

    def __repr__(self) -> str:
        return f"Outcome(experiment={self.metrics['experiment']!r}, run={self.run!r})"


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
    """Trainer the learner and its baselines, evaluate them on held-out users, and write the run's folder.

    Args:
        experiment: the experiment to run.
        folder: the folder to write; created if absent.
        progress: receives every stage and round.
        backend: see `run_plan`.
        engine: computes updates; see `run_plan`.
        memory: memory limit in bytes for users processed at once.
        resume: resume from the folder's last checkpoint. False removes the checkpoints of an earlier run.
        precision: the precision in which `init.tegu` stores float32 parameters. With any other than float32, the
            metrics hold the loss from it, and the bundle's held-out results are those of the restored parameters.

    Raises:
        FileError: the folder cannot be written.
        DataError: a parameter holds a value that the precision cannot represent.
        TeguError: as `run_plan`.
    """
    check_precision(precision)
    _prepare(folder, resume)
    plan = resolve_folds(experiment.plan, experiment.population, backend)
    learner = mixture(experiment.learner, experiment.initialisations)
    folds = plan.calibration.folds or 0
    trainings = f"{folds + 1} times " if folds else ""
    progress.stage(f"{learner.name}: compiling graphs, then {trainings}{plan.rounds} rounds")
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
    baselines = run_baselines(experiment, run, progress) if experiment.streams is None else {}
    progress.stage("evaluating on held-out users")
    results = evaluate_heldout(run, baselines)
    metrics, curve = _metrics(experiment, run, results, backend), results.curve
    if experiment.streams is not None:
        progress.stage("replaying users whose preferences change")
        metrics["drift"] = replay_drift(run, experiment.streams)
    if precision != "float32":
        curve, metrics["precision"] = storage_cost(run, curve, precision)
    run = with_results(run, curve)
    run.write(folder / "init.tegu", precision=precision)
    atomic_write(folder / "metrics.json", json.dumps(metrics, indent=1).encode())
    if experiment.titles:
        write_example_person(run, experiment.titles, folder)
    report = render_report(metrics, run.trained.validations, results.gains, results.reliability)
    atomic_write(folder / "report.html", report.encode())
    return Outcome(run, metrics)


def _prepare(folder: Path, resume: bool) -> None:
    make_folder(folder)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass  # fail before training, not after it, if the folder is not writable
        if not resume:
            remove_checkpoints(folder / "checkpoints")
    except OSError as error:
        raise FileError(f"cannot write to {folder} ({error.strerror or error}): choose a writable folder") from error


def _metrics(experiment: Experiment, run: Run, results: HeldoutResults, backend: Backend) -> dict[str, Any]:
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
        "schedule": [_without_losses(entry) for entry in run.bundle.manifest.schedule],
        "curve": results.curve,
        "training_gap": run.final_validation.as_json() if run.final_validation else {},
        "decline": decline_as_json(
            decline_of(trained.validations, run.metric.higher_is_better), run.metric.name, trained.kept
        ),
        "train_seconds": round(trained.seconds, 2),
        "user_rounds_per_second": round(trained.user_rounds / max(trained.seconds, 1e-9), 1),
        "peak_rss_mb": round(peak_memory(), 1),
        "meta": run.bundle.manifest.training["meta"],
    }


def _without_losses(entry: ScheduleEntry) -> dict[str, Any]:
    return {name: value for name, value in entry._asdict().items() if name != "losses"}  # some hundred numbers each
