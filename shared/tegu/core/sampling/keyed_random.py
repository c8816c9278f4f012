"""Random bits by counter rather than from a stream, so that many users' draws are one vectorised call."""

from __future__ import annotations

import numpy as np

from tegu.core.data.batch import Array

__all__ = ["splitmix"]


def splitmix(keys: Array, counters: Array | np.uint64) -> Array:
    """SplitMix64 (Steele, Lea, Flood 2014): the counter-th output, uint64, of the generator that a key seeds."""
    bits = keys + (counters + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Array = bits ^ (bits >> np.uint64(31))
    return mixed
