"""Several copies of a learner's parameters in one tree, with numbered names: `0/weight`, `1/weight`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree
from tegu.core.sampling.keyed_random import keyed_rng

__all__ = ["copy_of", "merge_copies", "perturbed_copies"]

T = TypeVar("T")
_PERTURBATION = 0.1  # relative to a parameter's standard deviation: enough to separate copies, too little to harm them
_CONSTANT_SD = 0.1  # used for a parameter whose initial values are all equal


def merge_copies(copies: Sequence[Mapping[str, T]]) -> dict[str, T]:
    """All copies in one tree, numbered from 0."""
    return {f"{number}/{name}": value for number, copy in enumerate(copies) for name, value in copy.items()}


def copy_of(tree: Mapping[str, T], number: int) -> dict[str, T]:
    """Copy `number` of a tree made by `merge_copies`, under the original names."""
    prefix = f"{number}/"
    return {name.removeprefix(prefix): value for name, value in tree.items() if name.startswith(prefix)}


def perturbed_copies(origin: Tree, copies: int, seed: int) -> Tree:
    """`origin` as copy 0, and slightly perturbed versions of it as the other copies.

    Args:
        origin: where a learner starts.
        copies: number of copies.
        seed: seed of the perturbations.
    """
    others = [
        {name: _perturbed(array, name, seed, number) for name, array in origin.items()} for number in range(1, copies)
    ]
    return merge_copies([origin, *others])


def _perturbed(array: Array, name: str, seed: int, number: int) -> Array:
    noise = keyed_rng("copy", seed, number, name).standard_normal(array.shape)
    return np.asarray(array + _PERTURBATION * (float(array.std()) or _CONSTANT_SD) * noise, array.dtype)
