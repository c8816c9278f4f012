"""Which users are summed first."""

from __future__ import annotations

import numpy as np

from tegu.core.data.batch import Array

__all__ = ["membership"]


def membership(users: int, block: int) -> Array:
    """Float32 `[blocks, users]`: 1 where a user is in a block and 0 elsewhere.

    There are two blocks at least, though one be empty: sums of a single row are taken by another kernel, in another
    order.
    """
    blocks = np.arange(max(2, -(-users // block)))[:, None]
    return np.asarray(np.arange(users) // block == blocks, np.float32)
