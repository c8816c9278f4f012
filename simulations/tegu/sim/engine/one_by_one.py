"""User after user, for backends without a batched form: each user's real rows alone, then the sum over blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tegu.core.data.batch import Array, NumpyBatch
from tegu.core.data.tree import Tree, clip

__all__ = ["each_state", "stacked", "sum_in_blocks", "users_of"]

Update = Callable[[NumpyBatch, NumpyBatch, Array], Tree]


def sum_in_blocks(
    update: Update, support: NumpyBatch, query: NumpyBatch, noise: Array, block: int, limit: float
) -> Tree:
    """See `Backend.block_sums`; users are added one after the other."""
    sums: dict[str, Array] = {}
    blocks = -(-len(support.mask) // block)
    for user, own in enumerate(zip(users_of(support), users_of(query), noise, strict=True)):
        for name, value in clip(update(*own), limit).items():
            total = sums.setdefault(name, np.zeros((blocks, *value.shape), value.dtype))
            total[user // block] += value
    return sums


def users_of(batch: NumpyBatch) -> Iterator[NumpyBatch]:
    """Each user's real rows, which come before its padding."""
    for x, y, mask in zip(*batch, strict=True):
        rows = int(mask.sum())
        yield NumpyBatch(x[:rows], y[:rows], mask[:rows])


def each_state(states: Tree, users: int) -> Iterator[Tree]:
    """Each user's own state from states `[users, ...]`; a scalar is an array too, as runtimes want it."""
    return ({name: value[user, ...] for name, value in states.items()} for user in range(users))


def stacked(states: list[Tree]) -> Tree:
    """States of single users as states `[users, ...]`."""
    return {name: np.stack([state[name] for state in states]) for name in states[0]}
