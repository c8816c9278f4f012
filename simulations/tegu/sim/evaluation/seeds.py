"""Mean metrics over runs of one experiment with different seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tegu.sim.evaluation.curve import pooled_harm_ratio, ratio_less_noise
from tegu.sim.evaluation.drift_replay import recovery_times

__all__ = ["mean_over_seeds"]

_RATIOS = ("harm_ratio", "harm_ratio_less_noise")


def mean_over_seeds(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Average the metrics of runs that differ in their seed only.

    Numbers of users are summed. All other figures are averaged, the ends of confidence intervals included. The harm
    ratios are those of the averaged gains, losses and squares. Of a schedule, what calibration has shown is averaged,
    where all runs have shown it; `needed` is the largest.

    Args:
        runs: the contents of each `metrics.json`. A `k` or a baseline that only some of them have is left out.
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
        "curve": [_mean_entry(group) for group in entries],
        "schedule": _mean_schedule([run["schedule"] for run in runs]),
        **drift,
    }


def _mean_entry(group: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found = _mean([{name: value for name, value in entry.items() if name not in _RATIOS} for entry in group])
    return found | {
        "harm_ratio": pooled_harm_ratio(found["gained"], found["lost"]),
        "harm_ratio_less_noise": ratio_less_noise(
            found["gained"] - found["lost"], found["lost"], found["squared_gain"], found["lasting_squared_gain"]
        ),
    }


def _mean_schedule(schedules: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    by_k = [{entry["k"]: entry for entry in schedule} for schedule in schedules]
    found = []
    for k in sorted(set.intersection(*(set(each) for each in by_k))):
        group = [each[k] for each in by_k]
        frontiers = [{point["risk"]: point for point in entry.get("frontier", ())} for entry in group]
        common = [risk for risk in frontiers[0] if all(risk in each for each in frontiers)]
        frontier = [_mean_shown([each[risk] for each in frontiers]) for risk in common]
        harm = [entry["harm"] for entry in group if entry.get("harm")]
        shown = _mean_shown(harm) if len(harm) == len(group) else None
        found.append({"k": k, "harm": shown, "frontier": frontier})
    return found


def _mean_shown(group: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean of each number; None where some run has none."""
    columns = {name: [each[name] for each in group] for name in group[0]}
    return {
        name: None if None in values else max(values) if name == "needed" else float(np.mean(values))
        for name, values in columns.items()
    }


def _drift(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    curve = [_mean(group) for group in zip(*(run["curve"] for run in runs), strict=True)]
    return {
        "people": sum(run["people"] for run in runs),
        "change": runs[0]["change"],
        "chosen": [half_life for run in runs for half_life in run["chosen"]],
        "curve": curve,
        "steady": _mean([run["steady"] for run in runs]),
        "recovered": recovery_times(curve),
    }


def _mean(group: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in group[0].items():
        if not all(name in other for other in group):
            continue
        each = [other[name] for other in group]
        if isinstance(value, Mapping):
            values[name] = _mean(each)
        else:
            is_key = isinstance(value, int)  # a number of interactions, the same in all runs
            values[name] = sum(each) if name == "users" else value if is_key else float(np.mean(each))
    return values
