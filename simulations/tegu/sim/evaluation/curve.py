"""One entry of the curve in `metrics.json`: held-out users' gains at one number of interactions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.metrics import Metric
from tegu.sim.evaluation.bootstrap import mean_interval

__all__ = ["ROUNDING", "curve_entry"]

ROUNDING = 1e-9  # of a metric near 1: what adding in another order may change


def curve_entry(
    k: int, metric: Metric, scores: Mapping[str, Array], tolerated: Array, rng: np.random.Generator
) -> dict[str, Any]:
    """One entry of the curve in `metrics.json`.

    Args:
        k: rows of each support.
        metric: what was judged by.
        scores: `[users]` for `initialisation`, `personalised`, and any baseline by name.
        tolerated: `[users]`, see `tolerance`.
        rng: decides the resamples of the gain's interval.
    """
    gain = metric.gain(scores["personalised"], scores["initialisation"])
    low, high = mean_interval(gain, rng)
    worst = np.sort(gain)[: max(1, len(gain) // 10)]
    baselines = {name: value for name, value in scores.items() if name not in ("initialisation", "personalised")}
    return {
        "k": k,
        "users": len(gain),
        "initialisation": float(scores["initialisation"].mean()),
        "personalised": float(scores["personalised"].mean()),
        "gain": float(gain.mean()),
        "gain_low": low,
        "gain_high": high,
        "hurt": float(np.mean(gain < -tolerated - ROUNDING)),
        "worse": float(np.mean(gain < -ROUNDING)),
        "worst_decile_gain": float(worst.mean()),
        "baselines": {name: float(value.mean()) for name, value in baselines.items()},
    }
