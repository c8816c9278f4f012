"""What noise for privacy costs, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tegu.sim.evaluation.cost_of_privacy import WITHOUT

__all__ = ["cost_line", "cost_rows"]


def cost_rows(metrics: Mapping[str, Any]) -> list[list[str]]:
    """Return a header and rows with and without noise, a column for each k; empty if the run had none.

    Args:
        metrics: the contents of `metrics.json`.
    """
    curve: Sequence[Mapping[str, Any]] = [entry for entry in metrics["curve"] if WITHOUT in entry]
    if not curve:
        return []
    sign = 1 if metrics["higher_is_better"] else -1
    rows = [[metrics["metric"], *(f"k = {entry['k']}" for entry in curve)]]
    for name in ("personalised", "initialisation"):
        with_noise, without = ([each[name] for each in group] for group in (curve, [entry[WITHOUT] for entry in curve]))
        pairs = list(zip(with_noise, without, strict=True))
        rows.append([f"{name}, without noise", *(f"{figure:.3f}" for figure in without)])
        rows.append([f"{name}, with noise", *(f"{figure:.3f}" for figure in with_noise)])
        rows.append([f"{name}: cost of privacy", *(f"{sign * (clean - noisy):+.3f}" for noisy, clean in pairs)])
    return rows


def cost_line(metrics: Mapping[str, Any]) -> str:
    """Return the caption of the table of `cost_rows`.

    Args:
        metrics: the contents of `metrics.json`.
    """
    better = "higher is better" if metrics["higher_is_better"] else "lower is better"
    return (
        f"{metrics['metric']} of held-out users ({better}) after the same training with and without noise; a positive "
        "cost is a loss"
    )
