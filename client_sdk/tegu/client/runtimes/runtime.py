"""What runs a learner on a device."""

from __future__ import annotations

from typing import Protocol

from tegu.core.bundle.manifest import Knobs
from tegu.core.data.batch import Array, NumpyBatch
from tegu.core.data.tree import Tree

__all__ = ["Runtime"]


class Runtime(Protocol):
    """Two of a learner's four functions: what personalising takes.

    Both are pure: the same arguments give the same result, and no argument is changed.
    """

    def adapt(self, meta: Tree, support: NumpyBatch, knobs: Knobs) -> Tree:
        """The personal state.

        Args:
            meta: what the server learned.
            support: the user's rows.
            knobs: scalars; those that the learner does not read are passed over.

        Raises:
            RuntimeFailure: the runtime cannot run the learner on these arguments.
        """

    def predict(self, meta: Tree, state: Tree, x: Array) -> Array:
        """Outputs for the rows of `x`: `[rows, outputs]`, or scores `[rows]` for ranking.

        Raises:
            RuntimeFailure: the runtime cannot run the learner on these arguments.
        """
