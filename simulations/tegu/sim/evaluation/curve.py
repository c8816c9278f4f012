"""One entry of the curve in `metrics.json`: results of held-out users at one number of interactions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tegu.core.calibration.harm import harm_ratio, materially_hurt
from tegu.core.data.batch import Array
from tegu.core.metrics import Metric
from tegu.sim.evaluation.bootstrap import mean_interval

__all__ = ["ROUNDING", "curve_entry", "pooled_harm_ratio"]

ROUNDING = 1e-9  # a change in the order of summation may alter a metric near 1 by this much


def curve_entry(
    k: int, metric: Metric, scores: Mapping[str, Array], allowed: Array, rng: np.random.Generator
) -> dict[str, Any]:
    """Return one entry of the curve in `metrics.json`.

    The gain is `gained` less `lost`: the gains of those who gain and the losses of those who lose, each averaged over
    all users.

    Args:
        k: rows of each support.
        metric: the metric of the scores.
        scores: by method, `[users]`; must hold `initialisation` and `personalised`. Every other name is a baseline.
        allowed: `[users]`, the loss that is not yet material harm; see `tegu.core.calibration.harm.allowed_loss`.
        rng: draws the resamples for the confidence interval of the mean gain.
    """
    gain = metric.gain(scores["personalised"], scores["initialisation"])
    low, high = mean_interval(gain, rng)
    worst = np.sort(gain)[: max(1, len(gain) // 10)]
    changed = np.where(np.abs(gain) > ROUNDING, gain, 0.0)
    gained, lost = float(changed.clip(min=0).mean()), float(-changed.clip(max=0).mean())
    baselines = {name: value for name, value in scores.items() if name not in ("initialisation", "personalised")}
    return {
        "k": k,
        "users": len(gain),
        "initialisation": float(scores["initialisation"].mean()),
        "personalised": float(scores["personalised"].mean()),
        "gain": float(gain.mean()),
        "gain_low": low,
        "gain_high": high,
        "worst_decile_gain": float(worst.mean()),
        "materially_hurt": float(materially_hurt(gain, allowed).mean()),
        "any_decline": float(np.mean(gain < -ROUNDING)),
        "gained": gained,
        "lost": abs(lost),
        "harm_ratio": pooled_harm_ratio(gained, lost),
        "baselines": {name: float(value.mean()) for name, value in baselines.items()},
    }


def pooled_harm_ratio(gained: float, lost: float) -> float | None:
    """The losses of losers divided by the gains of gainers; None if some lose and nobody gains.

    Args:
        gained: mean over users of the gains of those who gain.
        lost: mean over users of the losses of those who lose.
    """
    found = harm_ratio(lost, gained)
    return None if math.isinf(found) else found
