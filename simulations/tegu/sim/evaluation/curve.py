"""One entry of the curve in `metrics.json`: results of held-out users at one number of interactions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tegu.core.calibration.harm import GainSums, harm_ratio, harm_ratio_less_noise, materially_hurt
from tegu.core.data.batch import Array
from tegu.core.metrics import Metric
from tegu.sim.evaluation.bootstrap import mean_interval

__all__ = ["ROUNDING", "curve_entry", "pooled_harm_ratio", "ratio_less_noise"]

ROUNDING = 1e-9  # a change in the order of summation may alter a metric near 1 by this much


def curve_entry(
    k: int,
    metric: Metric,
    scores: Mapping[str, Array],
    allowed: Array,
    rng: np.random.Generator,
    lasting: Array | None = None,
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
        lasting: `[users]`, squared gains less noise (`tegu.core.calibration.query_noise`); None for gains without it.
    """
    gain = metric.gain(scores["personalised"], scores["initialisation"])
    low, high = mean_interval(gain, rng)
    worst = np.sort(gain)[: max(1, len(gain) // 10)]
    changed = np.where(np.abs(gain) > ROUNDING, gain, 0.0)
    gained, lost = float(changed.clip(min=0).mean()), float(-changed.clip(max=0).mean())
    squares = {
        "squared_gain": float(np.square(changed).mean()),
        "lasting_squared_gain": float((np.square(changed) if lasting is None else lasting).mean()),
    }
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
        **squares,
        "harm_ratio_less_noise": ratio_less_noise(float(changed.mean()), abs(lost), **squares),
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


def ratio_less_noise(gain: float, lost: float, squared_gain: float, lasting_squared_gain: float) -> float | None:
    """The harm ratio less the noise of few query rows (`harm_ratio_less_noise`); None if some lose and nobody gains.

    Args:
        gain: mean over users of the gain.
        lost: mean over users of the losses of those who lose.
        squared_gain: mean over users of the squared gain.
        lasting_squared_gain: the same less noise.
    """
    sums = GainSums(1.0, gain, squared_gain, lost, lasting_squared_gain, lasting_squared_gain**2)
    found = harm_ratio_less_noise(sums)
    return None if math.isinf(found) else found
