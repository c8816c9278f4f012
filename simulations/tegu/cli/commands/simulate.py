"""`tegu simulate`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypedDict, cast

import typer
from rich.console import Console

from tegu.cli.parsing.memory_size import parse_memory_size
from tegu.cli.parsing.share import parse_share
from tegu.core.compression.precision import Precision, check_precision
from tegu.core.privacy.line import privacy_line
from tegu.learners.catalogue import find_learner
from tegu.server.privacy.plan import PrivacyPlan
from tegu.server.training.calibration_plan import CalibrationPlan
from tegu.server.training.plan import TrainingPlan
from tegu.sim.engine import EngineKind, check_engine
from tegu.sim.evaluation.cost_of_privacy import with_privacy
from tegu.sim.evaluation.seeds import mean_over_seeds
from tegu.sim.experiment_run import run_experiment
from tegu.sim.experiments import Experiment
from tegu.sim.experiments.catalogue import experiment_with
from tegu.sim.reporting.calibrated import frontier_line, frontier_rows, unshown_line
from tegu.sim.reporting.cost_of_privacy import cost_line, cost_rows
from tegu.sim.reporting.progress import show_progress
from tegu.sim.reporting.table import (
    decline_line,
    drift_line,
    drift_rows,
    further_lines,
    gap_line,
    markdown,
    stored_line,
    table_rows,
)
from tegu.sim.training.in_process import Backend, check_backend

__all__ = ["simulate_command"]


def simulate_command(
    name: str,
    *,
    own: Mapping[str, Any],
    learner: str | None,
    rounds: int | None,
    patience: int,
    folds: int | None,
    harm: Mapping[str, str | float | None],
    privacy: Mapping[str, Any] | None,
    clip: float | None,
    cohort: int | None,
    initialisations: int,
    seed: int,
    seeds: int,
    backend: str,
    engine: str | None,
    memory: str,
    out: Path | None,
    resume: bool,
    precision: str,
    as_json: bool,
) -> None:
    """Run a built-in experiment and print its table.

    `own` holds options of the experiment, `harm` limits of `CalibrationPlan`, and `privacy` settings of `PrivacyPlan`.
    None stands for the experiment's own there and as `engine`. With settings of privacy, a training without noise is
    run too, and the cost is printed.

    Raises:
        TeguError: a name is unknown, the experiment has no such option, a limit on harm is out of range, there are too
            few users for the cohort, or the folder cannot be written.
    """
    check_backend(backend)
    if engine is not None:
        check_engine(engine)
    stored_as = check_precision(precision)
    allowed = parse_memory_size(memory)
    if learner is not None:
        find_learner(learner)
    limits: dict[str, Any] = {name: value for name, value in harm.items() if value is not None}
    if isinstance(risk := limits.get("risk"), str) and risk != "strict":
        limits["risk"] = parse_share("risk", risk)
    private = None if privacy is None else PrivacyPlan(**privacy)
    replace(CalibrationPlan(), **limits)  # an error before the experiment's data are read
    build = experiment_with(name, {option: value for option, value in own.items() if value is not None})
    folder = out or Path("runs") / name
    options = _Options(
        backend="ray" if backend == "ray" else "inprocess",
        engine=cast("EngineKind | None", engine),
        memory=allowed,
        resume=resume,
        precision=stored_as,
    )

    def planned(experiment: Experiment) -> Experiment:
        plan = _with_overrides(experiment.plan, patience, folds, limits)
        plan = plan if clip is None else replace(plan, updates=replace(plan.updates, clip=clip or math.inf))
        plan = plan if private is None else with_privacy(plan, private)
        return replace(experiment, plan=plan, initialisations=initialisations)

    found = []
    for number in range(seed, seed + seeds):
        run_folder = folder if seeds == 1 else folder / f"seed-{number}"
        experiment = build(seed=number, rounds=rounds, cohort=cohort)
        experiment = experiment if learner is None else experiment.with_learner(learner)
        found.append(_run_one(planned(experiment), run_folder, options))
    metrics = found[0] if seeds == 1 else mean_over_seeds(found)
    over = "" if seeds == 1 else f", seeds {seed} to {seed + seeds - 1}"
    several = "" if initialisations == 1 else f", {initialisations} initialisations"
    _print_results(f"{name} ({metrics['learner']})", f"{several}{over}", metrics, found[0].get("privacy", {}))
    if as_json:
        typer.echo(json.dumps(metrics))


def _print_results(title: str, runs: str, metrics: Mapping[str, Any], privacy: Mapping[str, Any]) -> None:
    """Print the table of the metrics, and what else a reader should know. `runs` says which runs they are of."""
    typer.echo(f"\n{title}: {metrics['metric']} on {metrics['heldout_users']} held-out users{runs}\n")
    typer.echo(markdown(table_rows(metrics)))
    if frontier := frontier_rows(metrics):
        typer.echo(f"\n{frontier_line(metrics)}:\n\n{markdown(frontier)}")
    lines = (
        privacy_line(privacy),
        stored_line(metrics),
        unshown_line(metrics),
        gap_line(metrics),
        decline_line(metrics),
        *further_lines(metrics),
    )
    for line in filter(None, lines):
        typer.echo(f"\n{line}")
    if cost := cost_rows(metrics):
        typer.echo(f"\n{cost_line(metrics)}:\n\n{markdown(cost)}")
    if "drift" in metrics:
        typer.echo(f"\n{drift_line(metrics)}\n\n{markdown(drift_rows(metrics))}")


def _with_overrides(plan: TrainingPlan, patience: int, folds: int | None, limits: Mapping[str, Any]) -> TrainingPlan:
    """Return the plan with the given patience, folds and limits; patience replaces an experiment's own folds by 0."""
    if patience and folds is None and plan.calibration.folds:
        typer.echo(
            f"--patience {patience} needs separate calibration users to validate on: --folds is set to 0 instead of "
            f"the experiment's {plan.calibration.folds}",
            err=True,
        )
        folds = 0
    calibration = replace(plan.calibration, **limits)
    calibration = calibration if folds is None else replace(calibration, folds=folds)
    return replace(plan, early_stopping=replace(plan.early_stopping, patience=patience), calibration=calibration)


class _Options(TypedDict):
    """Keyword arguments of `run_experiment`."""

    backend: Backend
    engine: EngineKind | Literal["auto"] | None
    memory: int
    resume: bool
    precision: Precision


def _run_one(experiment: Experiment, folder: Path, options: _Options) -> dict[str, Any]:
    """Run the experiment and return its metrics."""
    with show_progress(experiment.metric.name) as progress:
        outcome = run_experiment(experiment, folder, progress, **options)
    Console(stderr=True).print(
        f"\nwritten: {folder}/init.tegu, metrics.json, report.html", highlight=False, markup=False
    )
    return outcome.metrics
