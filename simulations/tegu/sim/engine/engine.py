"""A cohort's updates, summed: batches of users on every core, the same bits however the cohort is cut."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

from tegu.core.batch import Array, NumpyBatch
from tegu.core.errors import DataError
from tegu.core.manifest import Knobs
from tegu.core.tree import Tree
from tegu.sim.cohort import Cohort, buckets, gather
from tegu.sim.engine.backend import Backend
from tegu.sim.engine.fold import folded

__all__ = ["MEMORY", "Engine"]

MEMORY = 2 << 30
_BLOCK = 8  # users whose updates are added in one go
_BLOCK_BYTES = 32 << 20  # a block is smaller than `_BLOCK` where its users compute more than this
_BATCH = 128  # users a call: enough to fill a core, few enough for its cache


T = TypeVar("T")
R = TypeVar("R")


class _Group(NamedTuple):
    """Users whose rows are gathered in one go, a batch for every worker.

    Attributes:
        cohort: the users.
        rows: what supports and queries are padded to.
        block: users whose updates are summed first.
        whole: blocks of a batch.

    Rows and blocks are those of the users' whole bucket: padding to other lengths would change the last bits.
    """

    cohort: Cohort
    rows: tuple[int, int]
    block: int
    whole: int

    def batches(self) -> Iterator[tuple[NumpyBatch, NumpyBatch, int]]:
        """Supports, queries and the size of a block, for each call of a backend."""
        support, query = gather(self.cohort, self.rows)
        for users in _cut(len(self.cohort.users), self.block, self.whole):
            yield _rows_of(support, users), _rows_of(query, users), self.block


@dataclass(frozen=True)
class Engine:
    """A learner over many users on this machine; made by `make_engine`.

    Attributes:
        backend: what runs the learner.
        pools: as the learner's.
        user_bytes: from a user's rows to the bytes that its update takes, as `footprint` tells.
        memory: bytes that all batches in work together may take.
        workers: threads, one a core.
    """

    backend: Backend
    pools: bool = False
    user_bytes: Callable[[int], float] = lambda rows: 1 << 16
    memory: int = MEMORY
    workers: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))

    def sum_updates(self, meta: Tree, cohort: Cohort, limit: float) -> Tree:
        """The sum over users of their updates, each clipped to the norm `limit`.

        Blocks of users are summed while they are computed, then the blocks in order, so that the result does not depend
        on memory or cores ("torch-vmap" apart, whose last bits do). Batches are gathered while others compute.

        Raises:
            DataError: `memory` is too small for one block of users.
        """
        if self.pools:
            cohort = cohort.pooled()

        def compute(support: NumpyBatch, query: NumpyBatch, block: int) -> Tree:
            sums = self.backend.block_sums(meta, support, query, block, limit)
            blocks = -(-len(support.mask) // block)
            return {name: value[:blocks] if name in meta else value for name, value in sums.items()}

        # Gathered here rather than by the workers, who would only wait for Python's lock.
        batches = (batch for group in self._groups(cohort) for batch in group.batches())
        return folded(meta, self._each(compute, batches))

    def adapt(self, meta: Tree, supports: NumpyBatch, knobs: Knobs) -> Tree:
        """States `[users, ...]` from supports `[users, rows, ...]`."""
        parts = [_rows_of(supports, part) for part in self._parts(len(supports.mask))]
        states = self._map(lambda part: self.backend.adapt(meta, part, knobs), parts)
        return {name: np.concatenate([state[name] for state in states]) for name in states[0]}

    def predict(self, meta: Tree, states: Tree, x: Array) -> Array:
        """Outputs `[users, rows, ...]` from states `[users, ...]` and inputs `[users, rows, ...]`."""

        def one(part: slice) -> Array:
            own = {name: state[part] for name, state in states.items()}
            return self.backend.predict(meta, own, np.ascontiguousarray(x[part]))

        return np.concatenate(self._map(one, list(self._parts(len(x)))))

    def _groups(self, cohort: Cohort) -> Iterator[_Group]:
        share = -(-len(cohort.users) // self.workers)  # nobody waits for a batch larger than this
        for places in buckets(cohort):
            bucket = cohort.part(places)
            each = self.user_bytes(sum(bucket.longest))
            block = max(1, min(_BLOCK, int(_BLOCK_BYTES / each)))
            fitting = int(self.memory / self.workers / each)
            if fitting < block:
                raise DataError(
                    f"memory is {self.memory} bytes, and {self.workers} blocks of {block} users take "
                    f"{self.workers * block * each:.0f}: allow more, or make users' rows or the model fewer"
                )
            whole = max(1, min(fitting, share, _BATCH) // block)
            for users in _cut(len(places), block, whole * self.workers):
                yield _Group(bucket.part(np.arange(len(places))[users]), bucket.longest, block, whole)

    def _parts(self, users: int) -> list[slice]:
        size = max(1, min(_BATCH, -(-users // self.workers)))
        return [slice(start, start + size) for start in range(0, users, size)]

    def _each(self, compute: Callable[..., R], batches: Iterable[tuple[Any, ...]]) -> list[R]:
        """What `compute` gives for each batch, in order; no more than one batch waits for a worker."""
        results, running = list[R](), deque[Future[R]]()
        for batch in batches:
            if len(running) > self.workers:
                results.append(running.popleft().result())
            running.append(self._pool.submit(compute, *batch))
        return [*results, *(future.result() for future in running)]

    def _map(self, function: Callable[[T], R], items: Sequence[T]) -> list[R]:
        return list(self._pool.map(function, items))

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        # One thread a core, each computing on its own: torch's threads within an operator would compete with them.
        return ThreadPoolExecutor(self.workers, "tegu-engine", initializer=torch.set_num_threads, initargs=(1,))


def _cut(users: int, block: int, whole: int) -> list[slice]:
    """Parts of `whole` blocks each; what is left of a block goes with the last of them, never alone."""
    ends = [*range(whole * block, users - users % block, whole * block), users]
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


def _rows_of(batch: NumpyBatch, users: slice) -> NumpyBatch:
    return NumpyBatch(*(part[users] for part in batch))
