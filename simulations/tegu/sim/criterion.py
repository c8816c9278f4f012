"""Which way to adapt: the one that gains most among those that hurt almost nobody.

A calibration user's gain is known from a few draws of the support, so whether it is hurt is known only roughly. Each
counts with the probability that its gain is below the tolerance, and the rate of hurt users with one standard error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tegu.core.batch import Array
from tegu.sim.normal import chance_below

__all__ = ["RISK", "Choice", "choose", "rate_of_hurt"]

RISK = 0.05


class Choice(NamedTuple):
    """What was chosen.

    Attributes:
        option: its place among the options; None for not adapting.
        gain: mean gain of the users.
        spread: standard deviation of their gains.
    """

    option: int | None
    gain: float
    spread: float


def choose(gains: Sequence[Array], tolerance: Array, risk: float = RISK) -> Choice:
    """The option with the largest mean gain among those whose rate of hurt users is within `risk`.

    Args:
        gains: for each option, the gentler ones first, gains over not adapting, `[users, draws]`. One that is not
            finite anywhere is never chosen.
        tolerance: `[users]`, a loss that is no hurt.
        risk: share of users that may be hurt.
    """
    best = Choice(None, 0.0, 0.0)
    for place, gain in enumerate(gains):
        mean = float(gain.mean()) if np.isfinite(gain).all() else -math.inf
        if mean > best.gain and rate_of_hurt(gain, tolerance) <= risk:
            best = Choice(place, mean, float(gain.mean(1).std()))
    return best


def rate_of_hurt(gain: Array, tolerance: Array) -> float:
    """The expected share of users who lose more than they are to tolerate, and one standard error of it.

    Args:
        gain: `[users, draws]`.
        tolerance: `[users]`.
    """
    users, draws = gain.shape
    error = gain.std(1, ddof=1) / math.sqrt(draws) if draws > 1 else np.zeros(users)
    doubt = np.maximum(np.maximum(error, tolerance / 4), 1e-12)
    rate = float(np.mean(chance_below((-tolerance - gain.mean(1)) / doubt)))
    return rate + math.sqrt(rate * (1 - rate) / users)
