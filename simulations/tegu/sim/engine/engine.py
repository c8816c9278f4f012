"""A cohort's updates, summed: batches of users on every core, the same bits however the cohort is cut."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import TypeAlias, TypeVar

import numpy as np
import torch

from tegu.core.bundle.manifest import Knobs, Manifest
from tegu.core.data.batch import Array, NumpyBatch
from tegu.core.data.tree import Tree
from tegu.core.errors import DataError
from tegu.core.process import usable_cpus
from tegu.learners.learner import Execution
from tegu.sim.data.cohort import Cohort, buckets
from tegu.sim.engine.backend import Backend
from tegu.sim.engine.batches import Batch, Group, even_parts, gathered, users_in, whole_blocks
from tegu.sim.engine.footprint import TOGETHER
from tegu.sim.engine.sum_blocks import folded

__all__ = ["MEMORY", "Engine"]

MEMORY = 2 << 30
_BLOCK = 8  # users whose updates are added in one go
_BLOCK_BYTES = 32 << 20  # a block is smaller than `_BLOCK` where its users compute more than this
_CALL_BYTES = 3 << 18  # what is computed in the time that a call, and gathering for it, takes
_BATCH = 128  # users a call: enough to fill a core, few enough for its cache


UserBytes: TypeAlias = Callable[[int], float]
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Engine:
    """A learner over many users on this machine; made by `make_engine`.

    Attributes:
        backend: what runs the learner.
        manifest: what a bundle says of the learner.
        execution: how the learner may be executed faster.
        user_bytes: from a user's rows to the bytes that its update takes, as `footprint` tells.
        memory: bytes that all batches in work together may take.
        workers: threads, one a core.
        together_bytes: as `user_bytes`, where updates are summed together.
    """

    backend: Backend
    manifest: Manifest
    execution: Execution = field(default_factory=Execution)
    user_bytes: UserBytes = lambda rows: 1 << 16
    memory: int = MEMORY
    workers: int = field(default_factory=usable_cpus)
    together_bytes: UserBytes = lambda rows: 1 << 16

    def sum_updates(self, meta: Tree, cohort: Cohort, limit: float) -> Tree:
        """The sum over users of their updates, each clipped to the norm `limit`.

        Blocks of users are summed while they are computed, then the blocks in order, so that the result does not depend
        on memory or cores ("torch-vmap" apart, whose last bits do). A batch is gathered while others compute.

        Raises:
            DataError: `memory` is too small for one block of users.
        """
        if self.execution.merges_query:
            cohort = cohort.pooled(self.execution.order_invariant)

        def compute(batch: Batch) -> Tree:
            if batch.together is not None:
                total = batch.together(meta, batch.support, batch.query, batch.noise)
                return {name: value[None] if name in meta else value for name, value in total.items()}
            sums = self.backend.block_sums(meta, batch.support, batch.query, batch.noise, batch.block, limit)
            blocks = -(-len(batch.support.mask) // batch.block)
            return {name: value[:blocks] if name in meta else value for name, value in sums.items()}

        batches = (
            batch for group in self._groups(cohort, math.isinf(limit)) for batch in gathered(group, self.manifest.noise)
        )
        return folded(meta, self._each(compute, batches))

    def adapt(self, meta: Tree, supports: NumpyBatch, knobs: Knobs, noise: Array | None = None) -> Tree:
        """States `[users, ...]` from supports `[users, rows, ...]`.

        Args:
            meta: the initialisation.
            supports: every user's rows.
            knobs: how to adapt.
            noise: `[users, noise]`; zeros where it is None, which serves a learner that draws none and a state that
                does not adapt.
        """
        users = len(supports.mask)
        drawn = np.zeros((users, self.manifest.noise), np.float32) if noise is None else noise

        def one(part: slice) -> Tree:
            return self.backend.adapt(meta, users_in(supports, part), knobs, drawn[part])

        states = self._map(one, self._parts(users))
        return {name: np.concatenate([state[name] for state in states]) for name in states[0]}

    def predict(self, meta: Tree, states: Tree, x: Array) -> Array:
        """Outputs `[users, rows, ...]` from states `[users, ...]` and inputs `[users, rows, ...]`."""

        def one(part: slice) -> Array:
            own = {name: state[part] for name, state in states.items()}
            return self.backend.predict(meta, own, np.ascontiguousarray(x[part]))

        return np.concatenate(self._map(one, list(self._parts(len(x)))))

    def _groups(self, cohort: Cohort, unclipped: bool) -> Iterator[Group]:
        """A batch for every worker, which depend on nothing but the cohort; see `tegu.sim.engine.batches`."""
        share = -(-len(cohort.users) // self.workers)  # nobody waits for a batch larger than this
        at_once = unclipped and self.backend.together(sum(cohort.longest)) is not None
        fixed = _in_rows(self.together_bytes(0), self.together_bytes) if at_once else 0.0
        for places in buckets(cohort, _in_rows(_CALL_BYTES, self.user_bytes), fixed=fixed):
            bucket = cohort.part(places)
            rows = sum(bucket.longest)
            together = self.backend.together(rows) if unclipped else None
            each = (self.user_bytes if together is None else self.together_bytes)(rows)
            most = max(1, int(_BLOCK_BYTES / each))
            if together is None:
                block = min(_BLOCK, most)
                fitting = self._fitting(block, each)
                cuts = whole_blocks(len(places), block, max(1, min(fitting, share, _BATCH) // block))
            else:
                cuts = even_parts(len(places), min(TOGETHER, most))
                block = max(cut.stop - cut.start for cut in cuts)
                self._fitting(block, each)
            for first in range(0, len(cuts), self.workers):
                yield Group(bucket, cuts[first : first + self.workers], block, together)

    def _fitting(self, block: int, each: float) -> int:
        """Users that each worker's share of the memory has room for."""
        fitting = int(self.memory / self.workers / each)
        if fitting < block:
            raise DataError(
                f"memory is {self.memory} bytes, and {self.workers} blocks of {block} users take "
                f"{self.workers * block * each:.0f}: allow more, or make users' rows or the model fewer"
            )
        return fitting

    def _parts(self, users: int) -> list[slice]:
        size = max(1, min(_BATCH, -(-users // self.workers)))
        return [slice(start, start + size) for start in range(0, users, size)]

    def _each(self, compute: Callable[[T], R], batches: Generator[T]) -> list[R]:
        """What `compute` gives for each batch, in order.

        A worker takes, and thereby gathers, its next batch when it has computed the last one. A thread that gathers for
        all would be one more than there are cores, and workers would stand still for it.
        """
        numbered, taking, results = enumerate(batches), Lock(), dict[int, R]()

        def work() -> None:
            while True:
                with taking:
                    number, batch = next(numbered, (-1, None))
                if batch is None:
                    return
                try:
                    results[number] = compute(batch)
                except BaseException:
                    with taking:
                        batches.close()  # nobody need go on
                    raise

        for worker in [self._pool.submit(work) for _ in range(self.workers)]:
            worker.result()
        return [results[number] for number in range(len(results))]

    def _map(self, function: Callable[[T], R], items: Sequence[T]) -> list[R]:
        return list(self._pool.map(function, items))

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        # One thread a core, each computing on its own: torch's threads within an operator would compete with them.
        return ThreadPoolExecutor(self.workers, "tegu-engine", initializer=torch.set_num_threads, initargs=(1,))


def _in_rows(size: float, user_bytes: UserBytes) -> float:
    """How many of a user's rows take so many bytes."""
    row = user_bytes(1) - user_bytes(0)
    return size / row if row > 0 else math.inf
