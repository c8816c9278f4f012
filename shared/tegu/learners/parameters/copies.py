"""Several copies of a learner's parameters in one tree, each under its number: `0/weight`, `1/weight`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree
from tegu.core.sampling.keyed_random import keyed_rng

__all__ = ["copy_of", "merged", "start"]

T = TypeVar("T")
_APART = 0.1  # of a parameter's spread: enough to tell copies apart, too little to spoil a start
_CONSTANT = 0.1  # spread of a parameter that starts out as one number


def merged(copies: Sequence[Mapping[str, T]]) -> dict[str, T]:
    """Copies in one tree, numbered from 0."""
    return {f"{number}/{name}": value for number, copy in enumerate(copies) for name, value in copy.items()}


def copy_of(tree: Mapping[str, T], number: int) -> dict[str, T]:
    """The entries that `merged` gave this number, by their own names."""
    prefix = f"{number}/"
    return {name.removeprefix(prefix): value for name, value in tree.items() if name.startswith(prefix)}


def start(init: Callable[[int], Tree], copies: int, seed: int) -> Tree:
    """One origin for all: the learner's own start, and around it the other copies, each a little apart.

    Args:
        init: the learner's.
        copies: how many.
        seed: decides the origin and how copies lie around it.
    """
    origin = init(seed)
    apart = [{name: _near(array, name, seed, number) for name, array in origin.items()} for number in range(1, copies)]
    return merged([origin, *apart])


def _near(array: Array, name: str, seed: int, number: int) -> Array:
    drawn = keyed_rng("copy", seed, number, name).standard_normal(array.shape)
    return np.asarray(array + _APART * (float(array.std()) or _CONSTANT) * drawn, array.dtype)
