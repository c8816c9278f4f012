"""`tegu simulate`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypedDict, cast

import typer
from rich.console import Console

from tegu.cli.parsing.memory_size import bytes_from
from tegu.cli.progress import watching
from tegu.core.compression.precision import Precision, check_precision
from tegu.learners.catalogue import find_learner
from tegu.sim.engine import EngineKind, check_engine
from tegu.sim.evaluation.seeds import averaged
from tegu.sim.experiments import Experiment, find_experiment
from tegu.sim.reporting.table import drift_line, drift_rows, gap_line, markdown, stored_line, table_rows
from tegu.sim.run_experiment import run_experiment
from tegu.sim.training.in_process import Backend, check_backend

__all__ = ["simulate_command"]


def simulate_command(
    name: str,
    *,
    learner: str,
    rounds: int | None,
    patience: int,
    cohort: int | None,
    initialisations: int,
    seed: int,
    seeds: int,
    backend: str,
    engine: str,
    memory: str,
    out: Path | None,
    resume: bool,
    precision: str,
    as_json: bool,
) -> None:
    """Run a built-in experiment and print its table.

    Raises:
        TeguError: an unknown name, too few people for the cohort, or a folder that cannot be written.
    """
    check_backend(backend)
    check_engine(engine)
    stored_as = check_precision(precision)
    allowed = bytes_from(memory)
    find_learner(learner)
    build, folder = find_experiment(name), out or Path("runs") / name
    options = _Options(
        backend="ray" if backend == "ray" else "inprocess",
        engine=cast("EngineKind", engine),
        memory=allowed,
        resume=resume,
        precision=stored_as,
    )
    found = []
    for number in range(seed, seed + seeds):
        own = folder if seeds == 1 else folder / f"seed-{number}"
        experiment = build(seed=number, rounds=rounds, cohort=cohort)
        plan = replace(experiment.plan, patience=patience)
        found.append(_one(replace(experiment, plan=plan, initialisations=initialisations), own, options))
    metrics = found[0] if seeds == 1 else averaged(found)
    several = "" if initialisations == 1 else f", {initialisations} initialisations"
    over = "" if seeds == 1 else f", seeds {seed} to {seed + seeds - 1}"
    typer.echo(f"\n{name}: {metrics['metric']} on {metrics['heldout_users']} held-out people{several}{over}\n")
    typer.echo(markdown(table_rows(metrics)))
    for line in filter(None, (stored_line(metrics), gap_line(metrics))):
        typer.echo(f"\n{line}")
    if "drift" in metrics:
        typer.echo(f"\n{drift_line(metrics)}\n")
        typer.echo(markdown(drift_rows(metrics)))
    if as_json:
        typer.echo(json.dumps(metrics))


class _Options(TypedDict):
    """See `run_experiment`."""

    backend: Backend
    engine: EngineKind | Literal["auto"]
    memory: int
    resume: bool
    precision: Precision


def _one(experiment: Experiment, folder: Path, options: _Options) -> dict[str, Any]:
    """Run it and give its metrics."""
    with watching(experiment.metric.name) as watch:
        outcome = run_experiment(experiment, folder, watch, **options)
    Console(stderr=True).print(
        f"\nwritten: {folder}/init.tegu, metrics.json, report.html", highlight=False, markup=False
    )
    return outcome.metrics
