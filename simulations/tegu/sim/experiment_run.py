"""Run an experiment and write its folder: bundle, `metrics.json`, report and checkpoints."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tegu.core.compression.precision import Precision, check_precision
from tegu.core.errors import FileError
from tegu.core.files import atomic_write, make_folder
from tegu.learners.algorithms.mixture.mixture import mixture
from tegu.server.progress import SILENT, Progress
from tegu.server.training.checkpoint import remove_checkpoints
from tegu.server.training.run_folder import finish_run, hold_folder, is_finished
from tegu.sim.engine import MEMORY, EngineKind
from tegu.sim.evaluation.baselines.run_baselines import run_baselines
from tegu.sim.evaluation.cost_of_privacy import with_results_without_noise, without_privacy
from tegu.sim.evaluation.drift_replay import replay_drift
from tegu.sim.evaluation.heldout import evaluate_further, evaluate_heldout
from tegu.sim.evaluation.run_metrics import run_metrics
from tegu.sim.evaluation.storage_cost import storage_cost
from tegu.sim.experiments.experiment import Experiment
from tegu.sim.reporting.example_person import write_example_person
from tegu.sim.reporting.report import render_report
from tegu.sim.run import Run, run_plan
from tegu.sim.run_result import with_results
from tegu.sim.training.in_process import Backend

__all__ = ["Outcome", "run_experiment"]

_CHECKPOINTS = "checkpoints"


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
    engine: EngineKind | Literal["auto"] | None = None,
    memory: int = MEMORY,
    resume: bool = False,
    precision: Precision = "float32",
) -> Outcome:
    """Train the learner and its baselines, evaluate them on held-out users, and write the run's folder.

    Args:
        experiment: the experiment to run.
        folder: the folder to write; created if absent.
        progress: receives every stage and round.
        backend: see `run_plan`.
        engine: computes updates; see `run_plan`. None means the experiment's own.
        memory: memory limit in bytes for users processed at once.
        resume: whether the folder must hold this run already, to be resumed. False resumes it too if it is unfinished,
            and replaces a finished run. An unfinished other run is refused.
        precision: the precision in which `init.tegu` stores float32 parameters. With any other than float32, the
            metrics hold the loss from it, and the bundle's held-out results are those of the restored parameters.

    Raises:
        FileError: the folder cannot be written.
        FederationError: the folder holds another unfinished run, or is in use.
        DataError: a parameter holds a value that the precision cannot represent.
        TeguError: as `run_plan`.
    """
    check_precision(precision)
    _check_writable(folder)
    with hold_folder(folder):
        if not resume and is_finished(folder / _CHECKPOINTS):
            remove_checkpoints(folder / _CHECKPOINTS)
        return _run(experiment, folder, progress, backend, engine or experiment.engine, memory, resume, precision)


def _run(
    experiment: Experiment,
    folder: Path,
    progress: Progress,
    backend: Backend,
    engine: EngineKind | Literal["auto"],
    memory: int,
    resume: bool,
    precision: Precision,
) -> Outcome:
    learner = mixture(experiment.learner, experiment.initialisations)
    run = run_plan(
        experiment.population,
        learner,
        experiment.plan,
        backend=backend,
        engine=engine,
        memory=memory,
        checkpoints=folder / _CHECKPOINTS,
        resume=resume,
        progress=progress,
    )
    baselines = run_baselines(experiment.compared, run, progress) if experiment.streams is None else {}
    progress.stage("evaluating on held-out users")
    results = evaluate_heldout(run, baselines, experiment.draws)
    metrics, curve = run_metrics(experiment.name, run, results), results.curve
    if experiment.further:
        metrics["further"] = {name: evaluate_further(run, users) for name, users in experiment.further.items()}
    if experiment.streams is not None:
        progress.stage("replaying users whose preferences change")
        metrics["drift"] = replay_drift(run, experiment.streams)
    if run.plan.privacy.is_on:
        curve = metrics["curve"] = _beside_no_noise(experiment, run, curve, progress, engine, memory)
    if precision != "float32":
        curve, metrics["precision"] = storage_cost(run, curve, precision)
    run = with_results(run, curve)
    run.write(folder / "init.tegu", precision=precision)
    atomic_write(folder / "metrics.json", json.dumps(metrics, indent=1).encode())
    if experiment.titles:
        write_example_person(run, experiment.titles, folder)
    report = render_report(metrics, run.trained.validations, results.gains, results.reliability)
    atomic_write(folder / "report.html", report.encode())
    finish_run(folder / _CHECKPOINTS)
    return Outcome(run, metrics)


def _beside_no_noise(
    experiment: Experiment,
    run: Run,
    curve: Sequence[dict[str, Any]],
    progress: Progress,
    engine: EngineKind | Literal["auto"],
    memory: int,
) -> list[dict[str, Any]]:
    """The curve with the results of the same training without noise, which is not kept."""
    progress.stage("without noise: the same training, to compare with")
    plan = without_privacy(run.plan, run.plan.updates.clip)
    plain = run_plan(experiment.population, run.learner, plan, engine=engine, memory=memory, progress=progress)
    return with_results_without_noise(curve, plain, experiment.draws)


def _check_writable(folder: Path) -> None:
    """Fail before training, not after it, if the folder is not writable."""
    make_folder(folder)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise FileError(f"cannot write to {folder} ({error.strerror or error}): choose a writable folder") from error
