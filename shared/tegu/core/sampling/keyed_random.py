"""Random draws that depend on their keys alone: the same on every machine and in every process.

`keyed_rng` makes a generator from keys. `splitmix` is counter-based: one vectorised call draws for many users.
"""

from __future__ import annotations

import hashlib

import numpy as np

from tegu.core.data.batch import Array

__all__ = ["NO_NOISE", "draw_noise", "keyed_rng", "splitmix"]

NO_NOISE: Array = np.zeros(0, np.float32)  # of a learner that draws none


def keyed_rng(*keys: int | str) -> np.random.Generator:
    """A generator seeded by these keys, the same on every machine and in every process."""
    sha = hashlib.sha256("\0".join(map(str, keys)).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(sha[:16], "little")))


def splitmix(keys: Array, counters: Array | np.uint64) -> Array:
    """SplitMix64 (Steele, Lea, Flood 2014): the output number `counters` of a generator seeded with `keys`, uint64."""
    bits = keys + (counters + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Array = bits ^ (bits >> np.uint64(31))
    return mixed


def draw_noise(length: int, *keys: int | str) -> Array:
    """A learner's noise for these keys: standard normal, float32 `[length]`."""
    return keyed_rng("noise", *keys).standard_normal(length).astype(np.float32)
