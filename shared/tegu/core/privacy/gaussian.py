"""The epsilon of the Gaussian mechanism, exactly: Balle and Wang 2018, arXiv:1805.06530, theorem 8.

Several answers together are again a Gaussian mechanism: their precisions, 1 / multiplier^2, add up.
"""

from __future__ import annotations

import math

__all__ = ["gaussian_epsilon"]

_FAR = 30.0  # from here on the tail of the normal distribution is next to its asymptotic series
_STEPS = 100


def gaussian_epsilon(precision: float, delta: float) -> float:
    """The smallest epsilon for which the answers are (epsilon, delta)-differentially private.

    Args:
        precision: sum over the answers of 1 / multiplier^2. A multiplier is the noise's standard deviation divided by
            the largest norm of what is protected.
        delta: from above 0 to below 1.
    """
    if precision <= 0:
        return 0.0
    shift, low, high = math.sqrt(precision), 0.0, 1.0
    if _delta(0.0, shift) <= delta:
        return 0.0
    while _delta(high, shift) > delta:
        high *= 2
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if _delta(middle, shift) <= delta else (middle, high)
    return high


def _delta(epsilon: float, shift: float) -> float:
    """The delta at this epsilon, where the noise's standard deviation is 1 and the answers differ by `shift`."""
    near, far = shift / 2 - epsilon / shift, -shift / 2 - epsilon / shift
    return math.exp(_log_cdf(near)) - math.exp(min(epsilon + _log_cdf(far), 0.0))


def _log_cdf(value: float) -> float:
    """The logarithm of the standard normal distribution function."""
    if value > -_FAR:
        return math.log(math.erfc(-value / math.sqrt(2)) / 2)
    series = 1 - 1 / value**2 + 3 / value**4
    return -(value**2) / 2 - math.log(-value * math.sqrt(2 * math.pi)) + math.log(series)
