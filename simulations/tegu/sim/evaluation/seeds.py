"""Several seeds' runs of one experiment as one set of metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tegu.sim.evaluation.drift_replay import recovered

__all__ = ["averaged"]


def averaged(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The curve averaged over runs that differ in their seed; people are counted together, ends of intervals averaged.

    Args:
        runs: the contents of each `metrics.json`. What only some of them have (a `k`, a baseline) is left out.
    """
    common = set.intersection(*({entry["k"] for entry in run["curve"]} for run in runs))
    entries = ([entry for run in runs for entry in run["curve"] if entry["k"] == k] for k in sorted(common))
    first = runs[0]
    drift = {"drift": _drift([run["drift"] for run in runs])} if all("drift" in run for run in runs) else {}
    return {
        **{
            name: first[name]
            for name in ("experiment", "learner", "metric", "higher_is_better", "rounds", "cohort", "initialisations")
        },
        "seeds": [run["seed"] for run in runs],
        "heldout_users": sum(run["heldout_users"] for run in runs),
        "curve": [_mean(group) for group in entries],
        **drift,
    }


def _drift(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    curve = [_mean(group) for group in zip(*(run["curve"] for run in runs), strict=True)]
    return {
        "people": sum(run["people"] for run in runs),
        "change": runs[0]["change"],
        "chosen": [half_life for run in runs for half_life in run["chosen"]],
        "curve": curve,
        "steady": _mean([run["steady"] for run in runs]),
        "recovered": recovered(curve),
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
            same = isinstance(value, int)  # what an entry is of: a number of interactions
            values[name] = sum(alike) if name == "users" else value if same else float(np.mean(alike))
    return values
