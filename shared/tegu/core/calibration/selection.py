"""Which way to adapt: the one that gains most among those that surely gain and hurt almost nobody.

A calibration user's gain is known from a few draws of the support, so whether it is hurt is known only roughly. Each
counts with the probability that its gain is below the tolerance, and the rate of hurt users with a part of its standard
error. Of a hundred ways that gain nothing the best seems to gain a little: a mean gain has to stand clear of 0.
What the choice takes are sums over users; each user's part of them is computed where its rows are.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from tegu.core.calibration.normal_cdf import normal_cdf
from tegu.core.data.batch import Array

__all__ = ["RISK", "Selection", "gain_sums", "harm_probability", "harm_rate_bound", "select_candidate"]

RISK = 0.05
_CLEAR = 1.645  # standard errors of a gain: one-sided, 95 in 100
_DOUBT = 0.7  # standard errors of the rate: with all of it, two unlucky users of 66 forbid whatever others gain
_ROUNDING = 1e-6  # of a gain: a device and a batch of devices differ by less


class Selection(NamedTuple):
    """What was chosen.

    Attributes:
        option: its place among the options; None for not adapting.
        gain: mean gain of the users.
        spread: standard deviation of their gains.
    """

    option: int | None
    gain: float
    spread: float


def select_candidate(users: int, sums: Array, risk: float = RISK) -> Selection:
    """The option with the largest mean gain, clear of 0, among those whose rate of hurt users is within `risk`.

    Of options that gain the same to rounding, the first is taken.

    Args:
        users: how many were summed over, at least one.
        sums: `[options, 3]`, of `gain_sums`, the gentler options first. One that is not finite is never chosen.
        risk: share of users that may be hurt.
    """
    best = Selection(None, 0.0, 0.0)
    for place, (gain, squares, chances) in enumerate(sums):
        mean = float(gain) / users
        spread = math.sqrt(max(float(squares) / users - mean * mean, 0.0))
        clear = mean > _CLEAR * spread / math.sqrt(users)
        if clear and mean > best.gain * (1 + _ROUNDING) and harm_rate_bound(users, float(chances)) <= risk:
            best = Selection(place, mean, spread)
    return best


def harm_rate_bound(users: int, chances: float) -> float:
    """The expected share of users who lose more than they are to tolerate, and `_DOUBT` standard errors of it.

    Args:
        users: how many there are.
        chances: the sum over them of `harm_probability`.
    """
    rate = min(chances / users, 1.0)
    return rate + _DOUBT * math.sqrt(rate * (1 - rate) / users)


def gain_sums(gain: Array, tolerance: Array) -> Array:
    """float64 `[3]`: what `choose` needs of these users. NaN where a gain is not finite.

    Args:
        gain: over not adapting, `[users, draws]`.
        tolerance: `[users]`, a loss that is no hurt.
    """
    if not np.isfinite(gain).all():
        return np.full(3, np.nan)
    mean = gain.mean(1)
    return np.asarray([mean.sum(), np.square(mean).sum(), harm_probability(gain, tolerance).sum()])


def harm_probability(gain: Array, tolerance: Array) -> Array:
    """`[users]`: the probability that a user loses more than it is to tolerate; arguments as `gain_sums`."""
    users, draws = gain.shape
    error = gain.std(1, ddof=1) / math.sqrt(draws) if draws > 1 else np.zeros(users)
    doubt = np.maximum(np.maximum(error, tolerance / 4), 1e-12)
    return normal_cdf((-tolerance - gain.mean(1)) / doubt)
