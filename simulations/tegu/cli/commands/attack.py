"""`tegu simulate --attack`."""

from __future__ import annotations

import json

import typer

from tegu.core.errors import DataError
from tegu.sim.attacks.attack import Attack
from tegu.sim.compare_attack import AttackComparison, compare_attack
from tegu.sim.experiments import find_experiment
from tegu.sim.reporting.progress import show_progress
from tegu.sim.reporting.table import markdown

__all__ = ["attack_command"]

_RULES = ("trimmed_mean", "median", "multi_krum")


def attack_command(
    name: str,
    *,
    attack: str | None,
    attackers: float,
    aggregation: str | None,
    rounds: int | None,
    cohort: int | None,
    seed: int,
    learner: str | None,
    as_json: bool,
) -> None:
    """Train an experiment with false users and print what that costs.

    Raises:
        TeguError: a name is unknown, no attack is named, the share is out of range, or there are too few users for the
            cohort.
    """
    if attack is None:
        raise DataError(f"--aggregation is {aggregation} without --attack: name an attack, such as --attack signflip")
    false = Attack(attack, attackers)  # type: ignore[arg-type] # checked there
    rules = _RULES if aggregation is None else tuple(part.strip() for part in aggregation.split(","))
    experiment = find_experiment(name)(seed=seed, rounds=rounds, cohort=cohort)
    if learner is not None:
        experiment = experiment.with_learner(learner)
    with show_progress(experiment.metric.name) as progress:
        found = compare_attack(experiment, false, rules, progress)
    typer.echo(
        f"\n{name} ({experiment.learner.name}): {attackers:.0%} of the training users are false; {found.metric} of "
        f"{found.users} held-out users after {found.k} interactions\n"
    )
    typer.echo(markdown(_rows(found)))
    for result in found.results:
        if result.why:
            typer.echo(f"\n{result.name}: {result.why}")
    if as_json:
        typer.echo(json.dumps({**found._asdict(), "results": [result._asdict() for result in found.results]}))


def _rows(found: AttackComparison) -> list[list[str]]:
    clean = found.results[0].metric
    return [
        ["training", found.metric, "change"],
        *([each.name, *_figures(each.metric, clean)] for each in found.results),
    ]


def _figures(metric: float | None, clean: float | None) -> tuple[str, str]:
    if metric is None:
        return "failed", ""
    return f"{metric:.4g}", f"{metric - clean:+.4g}" if clean is not None else ""
