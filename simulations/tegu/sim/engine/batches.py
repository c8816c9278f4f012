"""Users of like sizes cut into batches, and their rows gathered for several batches in one go.

Rows and blocks are those of the whole bucket, whatever is cut out of it: padding to another length, or summing other
users first, would change the last bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tegu.core.data.batch import Array, NumpyBatch
from tegu.core.sampling.episode import episode_noise
from tegu.sim.data.cohort import Cohort, gather
from tegu.sim.engine.backend import TogetherSum

__all__ = ["Batch", "Group", "even_parts", "gathered", "users_in", "whole_blocks"]


class Group(NamedTuple):
    """Batches that are gathered together.

    Attributes:
        bucket: users of like sizes.
        cuts: the places of each batch's users among them, one batch after the other.
        block: users whose updates are summed first; all of a batch where `together` is given.
        together: sums a batch, where there is a way to do it at once.
    """

    bucket: Cohort
    cuts: Sequence[slice]
    block: int
    together: TogetherSum | None


class Batch(NamedTuple):
    """What a backend takes in one call; `block` and `together` as a group's.

    Attributes:
        support: `[users, rows, ...]`.
        query: `[users, rows, ...]`.
        noise: `[users, noise]`, each user's own.
    """

    support: NumpyBatch
    query: NumpyBatch
    noise: Array
    block: int
    together: TogetherSum | None


def gathered(group: Group, noise: int) -> Iterator[Batch]:
    """The group's batches, with so many numbers of noise for each user."""
    begin, end = group.cuts[0].start, group.cuts[-1].stop
    support, query = gather(group.bucket.part(slice(begin, end)), group.bucket.longest)
    for cut in group.cuts:
        users = slice(cut.start - begin, cut.stop - begin)
        drawn = episode_noise(noise, group.bucket.keys[cut])
        yield Batch(users_in(support, users), users_in(query, users), drawn, group.block, group.together)


def users_in(batch: NumpyBatch, users: slice) -> NumpyBatch:
    """Some of the users of a batch `[users, ...]`, not copied."""
    return NumpyBatch(*(part[users] for part in batch))


def whole_blocks(users: int, block: int, whole: int) -> list[slice]:
    """Parts of `whole` blocks each; what is left of a block goes with the last of them, never alone."""
    ends = [*range(whole * block, users - users % block, whole * block), users]
    return [slice(begin, end) for begin, end in zip([0, *ends], ends, strict=False)]


def even_parts(users: int, most: int) -> list[slice]:
    """As few parts of at most so many users as there can be, of one size as nearly as can be."""
    parts = -(-users // most)
    ends = [users * (part + 1) // parts for part in range(parts)]
    return [slice(begin, end) for begin, end in zip([0, *ends], ends, strict=False)]
