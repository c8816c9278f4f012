"""The sum over all blocks of users, in their order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree

__all__ = ["sum_blocks"]


def sum_blocks(meta: Tree, sums: Sequence[Tree]) -> Tree:
    """The sum of all blocks, as a tree with the names and shapes of `meta`.

    Args:
        meta: the part of the initialisation that is trained.
        sums: the result of `Backend.block_sums` for each batch, in order.
    """
    return {name: _total(name, array, sums) for name, array in meta.items()}


def _total(name: str, array: Array, sums: Sequence[Tree]) -> Array:
    if name in sums[0]:
        total: Array = np.concatenate([batch[name] for batch in sums]).sum(0)
        return total
    table = np.zeros_like(array)
    for batch in sums:
        with np.errstate(invalid="ignore"):  # the server refuses a sum that is not finite
            np.add.at(table, batch[f"{name}/ids"].reshape(-1), batch[f"{name}/rows"].reshape(-1, *array.shape[1:]))
    return table
