"""Backend: the device's own graphs in ONNX Runtime, user by user, for models without a batched form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tegu.client.runtimes.onnx_runtime import OnnxRuntime
from tegu.core.bundle.manifest import Knobs
from tegu.core.data.batch import Array, NumpyBatch
from tegu.core.data.tree import Tree
from tegu.sim.engine.one_by_one import each_state, stack_states, sum_in_blocks

__all__ = ["OnnxLooped"]


@dataclass(frozen=True)
class OnnxLooped:
    """Runs users one after the other; see `Backend`.

    Attributes:
        graphs: result of `compile_learner`.
    """

    graphs: Mapping[str, bytes] = field(repr=False)
    name: str = "onnx-loop"
    by_user: bool = True
    _runtime: OnnxRuntime = field(init=False, repr=False)

    def __post_init__(self) -> None:
        runtime = OnnxRuntime(self.graphs)
        for graph in self.graphs:
            runtime.load(graph)  # now, before several threads use it
        object.__setattr__(self, "_runtime", runtime)

    def summed_update(self, rows: int) -> None:
        """None: one user at a time has nothing to share."""

    def block_sums(
        self, meta: Tree, support: NumpyBatch, query: NumpyBatch, noise: Array, block: int, limit: float
    ) -> Tree:
        """See `Backend`."""
        return sum_in_blocks(lambda *own: self._runtime.update(meta, *own), support, query, noise, block, limit)

    def adapt(self, meta: Tree, supports: NumpyBatch, knobs: Knobs, noise: Array) -> Tree:
        """See `Backend`."""
        users = (NumpyBatch(*arrays) for arrays in zip(*supports, strict=True))
        pairs = zip(users, noise, strict=True)
        return stack_states([self._runtime.adapt(meta, support, knobs, own) for support, own in pairs])

    def predict(self, meta: Tree, states: Tree, x: Array) -> Array:
        """See `Backend`."""
        pairs = zip(each_state(states, len(x)), x, strict=True)
        return np.stack([self._runtime.predict(meta, state, inputs) for state, inputs in pairs])
