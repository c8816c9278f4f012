"""Gaussian noise for trees: from the operating system, from a secret, or from a seed.

A single number made from a uniform one has gaps in its last digits, which may tell what it was added to (Mironov 2012).
Therefore four are added and halved (Holohan and Braghin 2021, arXiv:2107.10138).
"""

from __future__ import annotations

import hashlib
import itertools
import math
import os
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree
from tegu.core.sampling.keyed_random import keyed_rng

__all__ = ["Normal", "RandomBytes", "add_noise", "noise_length", "normal_of_secret", "normal_of_seed", "system_normal"]

Normal: TypeAlias = Callable[[int], Array]
"""From a number to so many independent standard normal ones, float64."""

RandomBytes: TypeAlias = Callable[[int], bytes]

_SUMMED = 4  # numbers that make one
_SPREAD = 6.0  # standard deviations beyond which the norm of noise is never seen


def system_normal(size: int) -> Array:
    """Numbers from the operating system's own source of randomness."""
    return _normal(size, os.urandom)


def normal_of_secret(secret: bytes, question: bytes) -> Normal:
    """Numbers that whoever does not know the secret cannot tell from random ones; the same for the same question.

    Args:
        secret: at least 32 random bytes.
        question: what the noise is added for. The same question asked again must not get fresh noise, for the mean of
            many answers would have none.
    """
    calls = itertools.count()

    def normal(size: int) -> Array:
        key = hashlib.sha256(secret + hashlib.sha256(question).digest() + str(next(calls)).encode()).digest()
        return _normal(size, hashlib.shake_256(key).digest)

    return normal


def normal_of_seed(*keys: int | str) -> Normal:
    """Numbers that the keys determine, for simulations. Whoever knows the keys can take such noise away again."""
    return keyed_rng("privacy", *keys).standard_normal


def add_noise(tree: Tree, deviation: float, normal: Normal) -> Tree:
    """`tree` with independent noise of this standard deviation in every entry; each array keeps its dtype."""
    noised = {}
    for name in sorted(tree):
        array = tree[name]
        noise = deviation * normal(array.size).reshape(array.shape)
        noised[name] = np.asarray(array.astype(np.float64) + noise, dtype=array.dtype)
    return noised


def noise_length(entries: int, deviation: float) -> float:
    """A norm that noise of this standard deviation in so many entries does not exceed."""
    return deviation * (math.sqrt(entries) + _SPREAD)


def _normal(size: int, random: RandomBytes) -> Array:
    """`[size]`, by the method of Box and Muller."""
    pairs = -(-size * _SUMMED // 2)
    drawn = np.frombuffer(random(16 * pairs), np.uint64) >> np.uint64(11)
    first, second = (drawn.astype(np.float64) + 0.5).reshape(2, pairs) * 2.0**-53
    radius, angle = np.sqrt(-2 * np.log(first)), 2 * np.pi * second
    both = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[: size * _SUMMED]
    summed: Array = both.reshape(_SUMMED, size).sum(0) / math.sqrt(_SUMMED)
    return summed
