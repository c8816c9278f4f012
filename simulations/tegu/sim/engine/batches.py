"""Batches of users of similar sizes, gathered from a cohort several at a time.

The padding of rows and the size of blocks are those of the whole bucket, however it is divided into batches. Other
padding, or another order of summation, would change the last bits of the result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tegu.core.data.batch import Array, NumpyBatch
from tegu.core.sampling.episode import episode_noise
from tegu.sim.data.cohort import Cohort, gather
from tegu.sim.engine.backend import UpdateSummation

__all__ = ["BatchGroup", "UserBatch", "even_slices", "gather_batches", "users_in", "whole_block_slices"]


class BatchGroup(NamedTuple):
    """Batches that are gathered at the same time.

    Attributes:
        bucket: users of similar sizes.
        slices: positions of each batch's users in the bucket; the slices are consecutive.
        block: users per block. With `summed_update`, the users of the largest batch.
        summed_update: sums the updates of a batch at once. None means that updates are summed by blocks.
    """

    bucket: Cohort
    slices: Sequence[slice]
    block: int
    summed_update: UpdateSummation | None


class UserBatch(NamedTuple):
    """The arguments of one call of a backend.

    Attributes:
        support: `[users, rows, ...]`.
        query: `[users, rows, ...]`.
        noise: float32 `[users, noise]`, each user's own.
        block: as in `BatchGroup`.
        summed_update: as in `BatchGroup`.
    """

    support: NumpyBatch
    query: NumpyBatch
    noise: Array
    block: int
    summed_update: UpdateSummation | None


def gather_batches(group: BatchGroup, noise: int) -> Iterator[UserBatch]:
    """The batches of a group, with `noise` random numbers for each user."""
    begin, end = group.slices[0].start, group.slices[-1].stop
    support, query = gather(group.bucket.select(slice(begin, end)), group.bucket.max_rows)
    for chosen in group.slices:
        users = slice(chosen.start - begin, chosen.stop - begin)
        drawn = episode_noise(noise, group.bucket.keys[chosen])
        yield UserBatch(users_in(support, users), users_in(query, users), drawn, group.block, group.summed_update)


def users_in(batch: NumpyBatch, users: slice) -> NumpyBatch:
    """Some of the users of a batch `[users, ...]`, without a copy."""
    return NumpyBatch(*(values[users] for values in batch))


def whole_block_slices(users: int, block: int, blocks: int) -> list[slice]:
    """Slices of `blocks` whole blocks each; an incomplete block joins the last slice and never stands alone."""
    ends = [*range(blocks * block, users - users % block, blocks * block), users]
    return [slice(begin, end) for begin, end in zip([0, *ends], ends, strict=False)]


def even_slices(users: int, max_users: int) -> list[slice]:
    """The smallest number of slices of at most `max_users` users, with sizes that differ by one at most."""
    count = -(-users // max_users)
    ends = [users * (number + 1) // count for number in range(count)]
    return [slice(begin, end) for begin, end in zip([0, *ends], ends, strict=False)]
