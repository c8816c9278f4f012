"""What runs a learner over a batch of users. Several do, and give the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from tegu.core.bundle.manifest import Knobs
from tegu.core.data.batch import Array, NumpyBatch
from tegu.core.data.tree import Tree

__all__ = ["Backend", "TogetherSum"]

TogetherSum: TypeAlias = Callable[[Tree, NumpyBatch, NumpyBatch, Array], Tree]


class Backend(Protocol):
    """The learner's functions over many users; leading axis: users. Called from several threads at once."""

    @property
    def name(self) -> str:
        """As in `ENGINES`."""

    def together(self, rows: int) -> TogetherSum | None:
        """(meta, support, query, noise) -> the sum of all these users' updates, none of them clipped.

        A tree as `block_sums` gives it, less the axis of blocks; None where `block_sums` is as fast.

        Args:
            rows: that users have, padded, in support and query.
        """

    def block_sums(
        self, meta: Tree, support: NumpyBatch, query: NumpyBatch, noise: Array, block: int, limit: float
    ) -> Tree:
        """Sums of updates over blocks of users.

        Args:
            meta: the initialisation.
            support: `[users, rows, ...]`.
            query: `[users, rows, ...]`, of no rows at all for a learner that merges it with the support.
            noise: `[users, noise]`, of length 0 for a learner that draws none.
            block: so many users are summed to one block, in their order; the last block may have fewer.
            limit: largest norm of one user's update; infinite for none.

        Returns:
            A tree with the names of `meta` and arrays `[blocks, ...]`. Of a table by rows (`table_rows`) not
            the sum, but each user's rows `[users, touched, ...]` under `<name>/rows` and their ids under `<name>/ids`.
        """

    def adapt(self, meta: Tree, supports: NumpyBatch, knobs: Knobs, noise: Array) -> Tree:
        """States `[users, ...]` from supports `[users, rows, ...]` and noise `[users, noise]`."""

    def predict(self, meta: Tree, states: Tree, x: Array) -> Array:
        """Outputs `[users, rows, ...]` from states `[users, ...]` and inputs `[users, rows, ...]`."""
