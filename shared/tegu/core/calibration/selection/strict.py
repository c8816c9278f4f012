"""The rule of risk="strict": the largest mean gain among candidates that clearly gain and harm almost nobody.

Harm is any loss above one query row's worth, however small a share of the user's figure it is. Each k is judged alone.

A user's gain is estimated from a few draws of the support, so harm is uncertain. Each user counts with the probability
that its gain is below minus the tolerance, and part of the standard error is added to the rate of harmed users.
The best of a hundred useless candidates seems to gain a little, so the mean gain must be significantly above 0.
Selection takes sums over users. Each user's terms are computed where its rows are.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from tegu.core.calibration.normal_cdf import normal_cdf
from tegu.core.calibration.selection.limits import STRICT_RISK
from tegu.core.data.batch import Array

__all__ = ["Selection", "gain_sums", "harm_probability", "harm_rate_bound", "select_candidate"]

GAIN_Z = 1.645  # standard errors that a mean gain must exceed: one-sided 95%
HARM_Z = 0.7  # standard errors added to the harm rate; with a whole one, two unlucky users of 66 veto any candidate
_ROUNDING = 1e-6  # relative: gains computed on one device and in a batch differ by less


class Selection(NamedTuple):
    """The selected candidate.

    Attributes:
        candidate: its index; None for not adapting.
        gain: mean gain over users.
        gain_sd: standard deviation of the users' gains.
    """

    candidate: int | None
    gain: float
    gain_sd: float


def select_candidate(users: int, sums: Array, risk: float = STRICT_RISK) -> Selection:
    """The candidate with the largest significant mean gain among those whose rate of harmed users is within `risk`.

    Of candidates with equal gains up to rounding, the first is selected.

    Args:
        users: number of users in the sums, at least one.
        sums: `[candidates, 3]`, from `gain_sums`, gentler candidates first. A candidate whose sums are not finite is
            never selected.
        risk: share of users that may be harmed.
    """
    best = Selection(None, 0.0, 0.0)
    for index, (gain, squares, harm) in enumerate(sums):
        mean = float(gain) / users
        spread = math.sqrt(max(float(squares) / users - mean * mean, 0.0))
        significant = mean > GAIN_Z * spread / math.sqrt(users)
        if significant and mean > best.gain * (1 + _ROUNDING) and harm_rate_bound(users, float(harm)) <= risk:
            best = Selection(index, mean, spread)
    return best


def harm_rate_bound(users: int, harm: float) -> float:
    """The expected share of harmed users plus `HARM_Z` standard errors.

    Args:
        users: number of users.
        harm: sum of `harm_probability` over the users.
    """
    rate = min(harm / users, 1.0)
    return rate + HARM_Z * math.sqrt(rate * (1 - rate) / users)


def gain_sums(gain: Array, tolerance: Array) -> Array:
    """float64 `[3]`: what `select_candidate` needs of these users. NaN where a gain is not finite.

    Args:
        gain: over not adapting, `[users, draws]`.
        tolerance: `[users]`, a loss that is no hurt.
    """
    if not np.isfinite(gain).all():
        return np.full(3, np.nan)
    mean = gain.mean(1)
    return np.asarray([mean.sum(), np.square(mean).sum(), harm_probability(gain, tolerance).sum()])


def harm_probability(gain: Array, tolerance: Array) -> Array:
    """The probability that each user loses more than its tolerance, `[users]`; arguments as in `gain_sums`."""
    users, draws = gain.shape
    standard_error = gain.std(1, ddof=1) / math.sqrt(draws) if draws > 1 else np.zeros(users)
    uncertainty = np.maximum(np.maximum(standard_error, tolerance / 4), 1e-12)
    return normal_cdf((-tolerance - gain.mean(1)) / uncertainty)
