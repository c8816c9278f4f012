"""A cohort's updates, summed: batches of users on every core, the same bits however the cohort is cut."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
import torch

from tegu.core.batch import Array, NumpyBatch
from tegu.core.errors import DataError
from tegu.core.manifest import Knobs
from tegu.core.tree import Tree
from tegu.sim.cohort import Cohort, buckets, gather
from tegu.sim.engine.backend import Backend
from tegu.sim.engine.fold import folded
from tegu.sim.engine.footprint import TOGETHER

__all__ = ["MEMORY", "Engine"]

MEMORY = 2 << 30
_BLOCK = 8  # users whose updates are added in one go
_BLOCK_BYTES = 32 << 20  # a block is smaller than `_BLOCK` where its users compute more than this
_BATCH = 128  # users a call: enough to fill a core, few enough for its cache


UserBytes: TypeAlias = Callable[[int], float]
T = TypeVar("T")
R = TypeVar("R")


class _Job(NamedTuple):
    """Users of one batch, the rows that supports and queries are padded to, and how many users make a block.

    Rows and blocks are those of the batch's whole bucket: padding to other lengths would change the last bits.
    """

    cohort: Cohort
    rows: tuple[int, int]
    block: int


@dataclass(frozen=True)
class Engine:
    """A learner over many users on this machine; made by `make_engine`.

    Attributes:
        backend: what runs the learner.
        pools: as the learner's.
        user_bytes: from a user's rows to the bytes that its update takes, as `footprint` tells.
        memory: bytes that all batches in work together may take.
        workers: threads, one a core.
        together_bytes: as `user_bytes`, where unclipped updates are summed by one gradient.
    """

    backend: Backend
    pools: bool = False
    user_bytes: UserBytes = lambda rows: 1 << 16
    memory: int = MEMORY
    workers: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    together_bytes: UserBytes = lambda rows: 1 << 16

    def sum_updates(self, meta: Tree, cohort: Cohort, limit: float) -> Tree:
        """The sum over users of their updates, each clipped to the norm `limit`.

        Blocks of users are summed while they are computed, then the blocks in order, so that the result does not depend
        on memory or cores ("torch-vmap" apart, whose last bits do). One batch is gathered while another computes.

        Raises:
            DataError: `memory` is too small for one block of users.
        """
        if self.pools:
            cohort = cohort.pooled()

        at_once = self.backend.unclipped if math.isinf(limit) else None

        def compute(support: NumpyBatch, query: NumpyBatch, block: int) -> Tree:
            if at_once is not None:
                total = at_once(meta, support, query)
                return {name: value[None] if name in meta else value for name, value in total.items()}
            users = len(support.mask)
            sums = self.backend.block_sums(meta, support, query, _membership(users, block), limit)
            blocks = -(-users // block)
            return {name: value[:blocks] if name in meta else value for name, value in sums.items()}

        # Gathered here rather than by the workers, who would only wait for Python's lock.
        jobs = self._jobs(cohort) if at_once is None else self._jobs_at_once(cohort)
        batches = ((*gather(job.cohort, job.rows), job.block) for job in jobs)
        return folded(meta, self._each(compute, batches))

    def adapt(self, meta: Tree, supports: NumpyBatch, knobs: Knobs) -> Tree:
        """States `[users, ...]` from supports `[users, rows, ...]`."""
        parts = [NumpyBatch(*(value[part] for value in supports)) for part in self._parts(len(supports.mask))]
        states = self._map(lambda part: self.backend.adapt(meta, part, knobs), parts)
        return {name: np.concatenate([state[name] for state in states]) for name in states[0]}

    def predict(self, meta: Tree, states: Tree, x: Array) -> Array:
        """Outputs `[users, rows, ...]` from states `[users, ...]` and inputs `[users, rows, ...]`."""

        def one(part: slice) -> Array:
            own = {name: state[part] for name, state in states.items()}
            return self.backend.predict(meta, own, np.ascontiguousarray(x[part]))

        return np.concatenate(self._map(one, list(self._parts(len(x)))))

    def _jobs(self, cohort: Cohort) -> Iterator[_Job]:
        share = -(-len(cohort.users) // self.workers)  # nobody waits for a batch larger than this
        for places in buckets(cohort):
            bucket = cohort.part(places)
            each = self.user_bytes(sum(bucket.longest))
            block = max(1, min(_BLOCK, int(_BLOCK_BYTES / each)))
            fitting = int(self.memory / self.workers / each)
            self._check_fits(block, each)
            whole = max(1, min(fitting, share, _BATCH) // block)
            for part in _cut(np.arange(len(places)), block, whole):
                yield _Job(bucket.part(part), bucket.longest, block)

    def _jobs_at_once(self, cohort: Cohort) -> Iterator[_Job]:
        """Each a block of its own: blocks of one size as nearly as can be, for the time of a call grows with it."""
        for places in buckets(cohort, fixed=_fixed(self.together_bytes)):
            bucket = cohort.part(places)
            each = self.together_bytes(sum(bucket.longest))
            parts = -(-len(places) // max(1, min(TOGETHER, int(_BLOCK_BYTES / each))))
            for part in np.array_split(np.arange(len(places)), parts):
                self._check_fits(len(part), each)
                yield _Job(bucket.part(part), bucket.longest, len(part))

    def _check_fits(self, block: int, each: float) -> None:
        if self.memory < self.workers * block * each:
            raise DataError(
                f"memory is {self.memory} bytes, and {self.workers} blocks of {block} users take "
                f"{self.workers * block * each:.0f}: allow more, or make users' rows or the model fewer"
            )

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


def _fixed(user_bytes: UserBytes) -> float:
    """What a user without rows takes, in rows."""
    none = user_bytes(0)
    row = user_bytes(1) - none
    return none / row if row > 0 else math.inf


def _membership(users: int, block: int) -> Array:
    """Float32 `[blocks, users]`: which block each user is in.

    There are two blocks at least, though one be empty: sums of a single row are taken by another kernel, in another
    order.
    """
    blocks = np.arange(max(2, -(-users // block)))[:, None]
    return np.asarray(np.arange(users) // block == blocks, np.float32)


def _cut(places: Array, block: int, whole: int) -> list[Array]:
    """Parts of `whole` blocks each; what is left of a block goes with the last of them, never alone."""
    ends = np.arange(whole * block, len(places) - len(places) % block, whole * block)
    return np.split(places, ends)
