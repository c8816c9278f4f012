"""What backends share that run user by user: each user's rows without padding, then the sum over blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tegu.core.data.batch import Array, NumpyBatch
from tegu.core.data.tree import Tree, clip

__all__ = ["each_state", "stack_states", "sum_in_blocks", "unpadded_users"]

UserUpdate = Callable[[NumpyBatch, NumpyBatch, Array], Tree]


def sum_in_blocks(
    update: UserUpdate, support: NumpyBatch, query: NumpyBatch, noise: Array, block: int, limit: float
) -> Tree:
    """See `Backend.block_sums`; users are added one after the other."""
    sums: dict[str, Array] = {}
    blocks = -(-len(support.mask) // block)
    for user, own in enumerate(zip(unpadded_users(support), unpadded_users(query), noise, strict=True)):
        for name, value in clip(update(*own), limit).items():
            total = sums.setdefault(name, np.zeros((blocks, *value.shape), value.dtype))
            total[user // block] += value
    return sums


def unpadded_users(batch: NumpyBatch) -> Iterator[NumpyBatch]:
    """Each user's rows without padding, which follows the real rows."""
    for x, y, mask in zip(*batch, strict=True):
        rows = int(mask.sum())
        yield NumpyBatch(x[:rows], y[:rows], mask[:rows])


def each_state(states: Tree, users: int) -> Iterator[Tree]:
    """Each user's state from states `[users, ...]`; a scalar stays an array, as runtimes require."""
    return ({name: value[user, ...] for name, value in states.items()} for user in range(users))


def stack_states(states: list[Tree]) -> Tree:
    """States `[users, ...]` from the states of single users."""
    return {name: np.stack([state[name] for state in states]) for name in states[0]}
