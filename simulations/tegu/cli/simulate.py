"""`tegu simulate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import typer
from rich.console import Console

from tegu.cli.memory import bytes_from
from tegu.cli.progress import watching
from tegu.core.precision import check_precision
from tegu.learners.catalogue import find_learner
from tegu.sim.engine import EngineKind, check_engine
from tegu.sim.experiments import find_experiment
from tegu.sim.run_folder import run_experiment
from tegu.sim.table import markdown, stored_line, table_rows
from tegu.sim.train import Backend, check_backend

__all__ = ["simulate_command"]


def simulate_command(
    name: str,
    *,
    learner: str,
    rounds: int | None,
    cohort: int | None,
    seed: int,
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
    experiment = find_experiment(name)(seed=seed, rounds=rounds, cohort=cohort)
    folder = out or Path("runs") / name
    chosen: Backend = "ray" if backend == "ray" else "inprocess"
    kind = cast("EngineKind", engine)
    with watching(experiment.metric.name) as watch:
        outcome = run_experiment(
            experiment,
            folder,
            watch,
            backend=chosen,
            engine=kind,
            memory=allowed,
            resume=resume,
            precision=stored_as,
        )
    typer.echo(f"\n{experiment.name}: {experiment.metric.name} on {outcome.metrics['heldout_users']} held-out people\n")
    typer.echo(markdown(table_rows(outcome.metrics)))
    if line := stored_line(outcome.metrics):
        typer.echo(f"\n{line}")
    Console(stderr=True).print(
        f"\nwritten: {folder}/init.tegu, metrics.json, report.html", highlight=False, markup=False
    )
    if as_json:
        typer.echo(json.dumps(outcome.metrics))
