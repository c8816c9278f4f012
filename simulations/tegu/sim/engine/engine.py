"""A learner over many users: batches on every core, with results that do not depend on how a cohort is divided."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import Protocol, TypeAlias, TypeVar

import numpy as np

from tegu.core.bundle.manifest import Knobs, Manifest
from tegu.core.data.batch import Array, NumpyBatch
from tegu.core.data.tree import Tree, trained_part
from tegu.core.errors import DataError
from tegu.core.process import usable_cpus
from tegu.sim.data.cohort import Cohort, size_buckets
from tegu.sim.data.population import Population
from tegu.sim.engine.backend import Backend, Execution, PlainExecution
from tegu.sim.engine.batches import BatchGroup, UserBatch, even_slices, gather_batches, users_in, whole_block_slices
from tegu.sim.engine.sum_blocks import BlockSum

__all__ = ["BLOCK_BYTES", "MAX_SUMMED_USERS", "MEMORY", "Encoder", "Engine"]

MAX_SUMMED_USERS = 64  # the most users whose updates are summed at once
MEMORY = 2 << 30  # default memory limit in bytes for users processed at once
_BLOCK = 8  # users whose updates are summed first
BLOCK_BYTES = 32 << 20
_CALL_BYTES = 3 << 18  # computed in the time that the overhead of one call and its gathering takes
_BATCH = 128  # users per call: enough to use a core fully, few enough for its cache

UserBytes: TypeAlias = Callable[[int], float]
T = TypeVar("T")
R = TypeVar("R")


class Encoder(Protocol):
    """Encodes rows once for many trials: `tegu.sim.engine.encoded_rows.RowEncoder`."""

    @property
    def engine(self) -> Engine:
        """Runs the learner on codes in place of inputs."""

    def encode(self, meta: Tree, population: Population) -> list[Array] | None:
        """The codes of each user's rows, `[users]` of `[rows, width]`; None if they would take too much memory."""


@dataclass(frozen=True)
class Engine:
    """A learner over many users on this machine; `make_engine` creates one.

    Attributes:
        backend: runs the learner over a batch of users.
        manifest: the learner's description, as in a bundle.
        execution: how the learner may be executed faster.
        user_bytes: function from a user's rows to the bytes that its update takes; see `footprint`.
        memory: memory limit in bytes for users processed at once, over all workers.
        workers: number of threads, by default one per usable core.
        summed_update_bytes: as `user_bytes`, for updates that are summed over users at once.
        encoder: encodes rows once for many trials; None if the learner cannot.
        shares: calls into which users are divided for adaptation and prediction, to keep several cores busy.
        summed_bytes: what the users of one call compute at most, where updates are summed over users at once.
    """

    backend: Backend
    manifest: Manifest
    execution: Execution = field(default_factory=PlainExecution)
    user_bytes: UserBytes = lambda rows: 1 << 16
    memory: int = MEMORY
    workers: int = field(default_factory=usable_cpus)
    summed_update_bytes: UserBytes = lambda rows: 1 << 16
    encoder: Encoder | None = field(default=None, repr=False)
    shares: int = 8
    summed_bytes: int = BLOCK_BYTES

    def __repr__(self) -> str:
        return (
            f"Engine({self.backend.name}, learner={self.manifest.learner}, workers={self.workers}, "
            f"memory={self.memory >> 20} MiB)"
        )

    def sum_updates(self, meta: Tree, cohort: Cohort, limit: float) -> Tree:
        """The sum over users of their updates, each clipped to the norm `limit`; a tree without fixed parameters.

        The result does not depend on memory or cores: blocks of users are summed within batches, then the blocks in
        order. The last bits of "torch-vmap" are the exception. A batch is gathered while other workers compute.

        Args:
            meta: the initialisation.
            cohort: the users.
            limit: largest norm of one user's update; infinity means that updates are not clipped.

        Raises:
            DataError: `memory` is too small for one block of users per worker.
        """
        if self.execution.merges_query:
            cohort = cohort.merged(self.execution.order_invariant)

        def compute(batch: UserBatch) -> Tree:
            if batch.summed_update is not None:
                total = batch.summed_update(meta, batch.support, batch.query, batch.noise)
                return {name: value[None] if name in meta else value for name, value in total.items()}
            sums = self.backend.block_sums(meta, batch.support, batch.query, batch.noise, batch.block, limit)
            blocks = -(-len(batch.support.mask) // batch.block)
            return {name: value[:blocks] if name in meta else value for name, value in sums.items()}

        batches = (
            batch
            for group in self._groups(cohort, math.isinf(limit))
            for batch in gather_batches(group, self.manifest.noise)
        )
        total = BlockSum(trained_part(meta, self.manifest.fixed_parameters))
        self._compute_all(compute, batches, total.add)
        return total.total

    def adapt(self, meta: Tree, supports: NumpyBatch, knobs: Knobs, noise: Array | None = None) -> Tree:
        """States `[users, ...]` from supports `[users, rows, ...]`.

        Args:
            meta: the initialisation.
            supports: rows of every user.
            knobs: the settings of the adaptation.
            noise: float32 `[users, noise]`. None means zeros, for learners without noise and for unadapted states.
        """
        users = len(supports.mask)
        drawn = np.zeros((users, self.manifest.noise), np.float32) if noise is None else noise

        def adapt_slice(chosen: slice) -> Tree:
            return self.backend.adapt(meta, users_in(supports, chosen), knobs, drawn[chosen])

        states = self.map(adapt_slice, self._slices(users))
        return {name: np.concatenate([state[name] for state in states]) for name in states[0]}

    def predict(self, meta: Tree, states: Tree, x: Array, rows: Sequence[int] | None = None) -> Sequence[Array]:
        """Outputs `[rows, ...]` of each user from states `[users, ...]` and inputs `[users, rows, ...]`.

        Args:
            meta: the initialisation.
            states: of each user.
            x: inputs, padded to the same number of rows.
            rows: of each user without padding; None for all. Outputs for padded rows are absent where users are
                computed one by one, and may be anything elsewhere.
        """

        def predict_slice(chosen: slice) -> Array:
            own = {name: state[chosen] for name, state in states.items()}
            given = x[chosen] if rows is None or not by_user else x[chosen, : rows[chosen.start]]
            return self.backend.predict(meta, own, np.ascontiguousarray(given))

        by_user = self.backend.by_user
        slices = [slice(user, user + 1) for user in range(len(x))] if by_user else self._slices(len(x))
        return [output for part in self.map(predict_slice, slices) for output in part]

    def map(self, function: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """The results of `function` for all items, in order, computed on every core."""
        return list(self.as_computed(function, items))

    def as_computed(self, function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        """As `map`, one result after the other, of which none is kept."""
        return self._pool.map(function, items)

    def _groups(self, cohort: Cohort, unclipped: bool) -> Iterator[BatchGroup]:
        """Groups of one batch per worker; see `tegu.sim.engine.batches`."""
        share = -(-len(cohort.users) // self.workers)  # a larger batch would keep other workers waiting
        at_once = unclipped and self.backend.summed_update(sum(cohort.max_rows)) is not None
        fixed_rows = _in_rows(self.summed_update_bytes(0), self.summed_update_bytes) if at_once else 0.0
        for positions in size_buckets(cohort, _in_rows(_CALL_BYTES, self.user_bytes), fixed_rows=fixed_rows):
            bucket = cohort.select(positions)
            rows = sum(bucket.max_rows)
            summed_update = self.backend.summed_update(rows) if unclipped else None
            bytes_per_user = (self.user_bytes if summed_update is None else self.summed_update_bytes)(rows)
            block_bytes = BLOCK_BYTES if summed_update is None else self.summed_bytes
            max_block = max(1, int(block_bytes / bytes_per_user))
            if summed_update is None:
                block = min(_BLOCK, max_block)
                max_users = min(self._users_that_fit(block, bytes_per_user), share, _BATCH)
                slices = whole_block_slices(len(positions), block, max(1, max_users // block))
            else:
                slices = even_slices(len(positions), min(MAX_SUMMED_USERS, max_block))
                block = max(chosen.stop - chosen.start for chosen in slices)
                self._users_that_fit(block, bytes_per_user)
            for first in range(0, len(slices), self.workers):
                yield BatchGroup(bucket, slices[first : first + self.workers], block, summed_update)

    def _users_that_fit(self, block: int, bytes_per_user: float) -> int:
        """The number of users that fit into one worker's share of the memory.

        Raises:
            DataError: fewer than one block.
        """
        users = int(self.memory / self.workers / bytes_per_user)
        if users < block:
            raise DataError(
                f"memory is {self.memory} bytes, and {self.workers} blocks of {block} users take "
                f"{self.workers * block * bytes_per_user:.0f}: allow more memory, use fewer rows per user, or use a "
                "smaller model"
            )
        return users

    def _slices(self, users: int) -> list[slice]:
        """Slices of users; their sizes do not depend on the number of workers, and so neither do the last bits."""
        size = max(1, min(_BATCH, -(-users // self.shares)))
        return [slice(start, start + size) for start in range(0, users, size)]

    def _compute_all(self, compute: Callable[[T], R], batches: Iterator[T], take: Callable[[R], None]) -> None:
        """Call `take` with the results of `compute` for all batches, in order and one at a time.

        Each worker gathers its next batch itself, after computing the last one. A separate thread that gathers for all
        would be one more than there are cores, and workers would wait for it.
        """
        numbered, gathering, taking = enumerate(batches), Lock(), Lock()
        waiting, expected, failed = dict[int, R](), 0, False

        def work() -> None:
            nonlocal expected, failed
            while True:
                with gathering:
                    number, batch = (-1, None) if failed else next(numbered, (-1, None))
                if batch is None:
                    return
                try:
                    result = compute(batch)
                except BaseException:
                    failed = True  # stops the other workers
                    raise
                with taking:
                    waiting[number] = result
                    while expected in waiting:
                        take(waiting.pop(expected))
                        expected += 1

        for worker in [self._pool.submit(work) for _ in range(self.workers)]:
            worker.result()

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.workers, "tegu-engine", initializer=_without_torch_threads)


def _without_torch_threads() -> None:
    """Disable torch's own threads, which would compete with the pool's, one for each core; nothing without torch."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


def _in_rows(size: float, user_bytes: UserBytes) -> float:
    """The number of a user's rows that take `size` bytes."""
    row = user_bytes(1) - user_bytes(0)
    return size / row if row > 0 else math.inf
