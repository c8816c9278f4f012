"""The protocol of what runs a learner on a device."""

from __future__ import annotations

from typing import Protocol

from tegu.core.bundle.manifest import Knobs
from tegu.core.data.batch import Array, NumpyBatch
from tegu.core.data.tree import Tree

__all__ = ["Runtime"]


class Runtime(Protocol):
    """The two of a learner's four functions that personalisation needs.

    Both are pure: equal arguments give equal results, and no argument is modified.
    """

    def adapt(self, meta: Tree, support: NumpyBatch, knobs: Knobs, noise: Array) -> Tree:
        """The personal state.

        Args:
            meta: what the server learned.
            support: the user's rows.
            knobs: scalars; those that the learner does not read are ignored.
            noise: standard normal, float32 `[Manifest.noise]`.

        Raises:
            RuntimeFailure: the runtime cannot run the learner on these arguments.
        """

    def predict(self, meta: Tree, state: Tree, x: Array) -> Array:
        """Outputs for the rows of `x`: `[rows, outputs]`, or scores `[rows]` for ranking.

        Raises:
            RuntimeFailure: the runtime cannot run the learner on these arguments.
        """
