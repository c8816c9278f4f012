"""The protocol of what runs a learner over a batch of users. All backends give the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeAlias

from tegu.core.bundle.manifest import Knobs
from tegu.core.data.batch import Array, NumpyBatch
from tegu.core.data.tree import Tree

__all__ = ["Backend", "Execution", "PlainExecution", "UpdateSummation"]

UpdateSummation: TypeAlias = Callable[[Tree, NumpyBatch, NumpyBatch, Array], Tree]
"""(meta, support, query, noise) -> the sum of all users' updates, unclipped."""


class Backend(Protocol):
    """The learner's functions over many users, on the leading axis. Several threads call them at once."""

    @property
    def name(self) -> str:
        """The name of the engine kind, as in `EngineKind`."""

    @property
    def by_user(self) -> bool:
        """Whether users are computed one after the other, so that no user has to be padded to another's rows."""

    def summed_update(self, rows: int) -> UpdateSummation | None:
        """A function that sums the unclipped updates of a batch of users at once.

        Its result is a tree like that of `block_sums` without the axis of blocks.

        Args:
            rows: padded rows of each user, in support and query together.

        Returns:
            The function. None means that there is none, or that `block_sums` is as fast.
        """

    def block_sums(
        self, meta: Tree, support: NumpyBatch, query: NumpyBatch, noise: Array, block: int, limit: float
    ) -> Tree:
        """Sums of updates over blocks of users.

        Args:
            meta: the initialisation.
            support: `[users, rows, ...]`.
            query: `[users, rows, ...]`; it has no rows if the learner merges query and support.
            noise: float32 `[users, noise]`; its length is 0 if the learner draws no noise.
            block: users per block, summed in their order; the last block may have fewer.
            limit: largest norm of one user's update; infinity means that updates are not clipped.

        Returns:
            A tree with the names of the trained part of `meta` and arrays `[blocks, ...]`. For a table that is updated
            by rows (`table_rows`) it holds no sum. Instead, `<name>/rows` holds each user's rows
            `[users, touched, ...]`, and `<name>/ids` holds their ids.
        """

    def adapt(self, meta: Tree, supports: NumpyBatch, knobs: Knobs, noise: Array) -> Tree:
        """States `[users, ...]` from supports `[users, rows, ...]` and noise `[users, noise]`."""

    def predict(self, meta: Tree, states: Tree, x: Array) -> Array:
        """Outputs `[users, rows, ...]` from states `[users, ...]` and inputs `[users, rows, ...]`."""


class Execution(Protocol):
    """What an engine uses of a learner's `Execution`."""

    @property
    def order_invariant(self) -> bool:
        """Whether `update` does not depend on the order of rows."""

    @property
    def merges_query(self) -> bool:
        """Whether `update` uses support and query as one set of rows."""


class PlainExecution(NamedTuple):
    """An `Execution` without the learner."""

    order_invariant: bool = False
    merges_query: bool = False
