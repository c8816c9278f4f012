"""One entry of the curve in `metrics.json`: results of held-out users at one number of interactions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.metrics import Metric
from tegu.sim.evaluation.bootstrap import mean_interval

__all__ = ["ROUNDING", "curve_entry"]

ROUNDING = 1e-9  # a change in the order of summation may alter a metric near 1 by this much


def curve_entry(
    k: int, metric: Metric, scores: Mapping[str, Array], tolerated: Array, rng: np.random.Generator
) -> dict[str, Any]:
    """Return one entry of the curve in `metrics.json`.

    Args:
        k: rows of each support.
        metric: the metric of the scores.
        scores: by method, `[users]`; must hold `initialisation` and `personalised`. Every other name is a baseline.
        tolerated: `[users]`, the loss that does not yet count as harm; see `tolerance`.
        rng: draws the resamples for the confidence interval of the mean gain.
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
