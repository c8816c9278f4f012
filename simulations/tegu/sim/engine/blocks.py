"""The blocks of users whose updates are summed first."""

from __future__ import annotations

import numpy as np

from tegu.core.data.batch import Array

__all__ = ["block_membership"]


def block_membership(users: int, block: int) -> Array:
    """Float32 `[blocks, users]`: 1 if a user is in a block, otherwise 0.

    There are at least two blocks, even if the second is empty. A matrix product with a single row uses another kernel,
    which adds in another order.
    """
    blocks = np.arange(max(2, -(-users // block)))[:, None]
    return np.asarray(np.arange(users) // block == blocks, np.float32)
