"""Several seeds' runs of one experiment as one set of metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["averaged"]


def averaged(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The curve averaged over runs that differ in their seed; people are counted together, ends of intervals averaged.

    Args:
        runs: the contents of each `metrics.json`. What only some of them have (a `k`, a baseline) is left out.
    """
    common = set.intersection(*({entry["k"] for entry in run["curve"]} for run in runs))
    entries = ([entry for run in runs for entry in run["curve"] if entry["k"] == k] for k in sorted(common))
    first = runs[0]
    return {
        **{
            name: first[name]
            for name in ("experiment", "learner", "metric", "higher_is_better", "rounds", "cohort", "initialisations")
        },
        "seeds": [run["seed"] for run in runs],
        "heldout_users": sum(run["heldout_users"] for run in runs),
        "curve": [_mean(group) for group in entries],
    }


def _mean(group: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in group[0].items():
        if not all(name in other for other in group):
            continue
        alike = [other[name] for other in group]
        if isinstance(value, Mapping):
            values[name] = _mean(alike)
        else:
            values[name] = value if name == "k" else sum(alike) if name == "users" else float(np.mean(alike))
    return values
