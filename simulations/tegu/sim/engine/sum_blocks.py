"""The sum over all blocks of users, in their order."""

from __future__ import annotations

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree

__all__ = ["BlockSum"]


class BlockSum:
    """A sum that blocks are added to one after the other, so that no more than one batch of them is kept.

    The order alone decides the last bits, however blocks are divided into batches.

    Attributes:
        total: the sum so far, a tree with the names and shapes of `meta`.

    Args:
        meta: the part of the initialisation that is trained.
    """

    def __init__(self, meta: Tree) -> None:
        self.total: dict[str, Array] = {name: np.zeros_like(array) for name, array in meta.items()}

    def __repr__(self) -> str:
        return f"BlockSum({', '.join(self.total)})"

    def add(self, sums: Tree) -> None:
        """Add the blocks of the next batch.

        Args:
            sums: the result of `Backend.block_sums`.
        """
        with np.errstate(invalid="ignore", over="ignore"):  # the server refuses a sum that is not finite
            for name, total in self.total.items():
                if name in sums:
                    for block in sums[name]:
                        total += block  # noqa: PLW2901 # in place
                else:
                    rows = sums[f"{name}/rows"].reshape(-1, *total.shape[1:])
                    np.add.at(total, sums[f"{name}/ids"].reshape(-1), rows)
