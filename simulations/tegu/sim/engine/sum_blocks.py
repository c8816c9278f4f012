"""Sums over blocks of users, in their order, as one tree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree

__all__ = ["folded"]


def folded(meta: Tree, sums: Sequence[Tree]) -> Tree:
    """The sum of all blocks, a tree of the layout of `meta`.

    Args:
        meta: the initialisation.
        sums: `Backend.block_sums` of one batch after the other.
    """
    return {name: _total(name, array, sums) for name, array in meta.items()}


def _total(name: str, array: Array, sums: Sequence[Tree]) -> Array:
    if name in sums[0]:
        total: Array = np.concatenate([part[name] for part in sums]).sum(0)
        return total
    table = np.zeros_like(array)
    for part in sums:
        with np.errstate(invalid="ignore"):  # a sum that is not finite is for the server to refuse
            np.add.at(table, part[f"{name}/ids"].reshape(-1), part[f"{name}/rows"].reshape(-1, *array.shape[1:]))
    return table
