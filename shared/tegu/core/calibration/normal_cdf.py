"""The standard normal distribution function."""

from __future__ import annotations

import math

import numpy as np

from tegu.core.data.batch import Array

__all__ = ["normal_cdf"]

_erf = np.vectorize(math.erf, otypes=[float])


def normal_cdf(z: Array) -> Array:
    """The probability that a standard normal variable is below each entry of `z`."""
    probability: Array = 0.5 * (1 + _erf(z / math.sqrt(2)))
    return probability
