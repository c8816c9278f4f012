"""The normal law, entry by entry."""

from __future__ import annotations

import math

import numpy as np

from tegu.core.data.batch import Array

__all__ = ["normal_cdf"]

_erf = np.vectorize(math.erf, otypes=[float])


def normal_cdf(score: Array) -> Array:
    """The probability that a standard normal variable is below each entry."""
    chance: Array = 0.5 * (1 + _erf(score / math.sqrt(2)))
    return chance
