"""Users in blocks: which block each is in, and batches whose blocks are all full."""

from __future__ import annotations

import numpy as np

from tegu.core.batch import Array, NumpyBatch

__all__ = ["full_blocks", "membership"]


def membership(users: int, block: int) -> Array:
    """Float32 `[blocks, users]`: 1 where a user is in a block and 0 elsewhere.

    There are two blocks at least, though one be empty: sums of a single row are taken by another kernel, in another
    order.
    """
    blocks = np.arange(max(2, -(-users // block)))[:, None]
    return np.asarray(np.arange(users) // block == blocks, np.float32)


def full_blocks(batch: NumpyBatch, block: int) -> NumpyBatch:
    """A batch of users as `[blocks, block, rows, ...]`; the last block is filled up with users without a real row."""
    blocks = -(-len(batch.mask) // block)
    missing = blocks * block - len(batch.mask)
    return NumpyBatch(*(_filled(part, missing).reshape(blocks, block, *part.shape[1:]) for part in batch))


def _filled(part: Array, missing: int) -> Array:
    return np.concatenate([part, np.zeros((missing, *part.shape[1:]), part.dtype)]) if missing else part
