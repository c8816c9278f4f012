"""A batch of users as one call of a graph in ONNX Runtime: the fastest for small models."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from tegu.client.runtime_onnx import OnnxRuntime
from tegu.core.batch import Array, NumpyBatch
from tegu.core.manifest import Knobs
from tegu.core.tree import Tree
from tegu.server.compile import CohortGraphs
from tegu.sim.engine.blocks import full_blocks, membership

__all__ = ["OnnxBatched"]


@dataclass(frozen=True)
class OnnxBatched:
    """See `Backend`.

    Attributes:
        graphs: from `compile_cohort`.
    """

    graphs: CohortGraphs
    name: str = "onnx"
    _runtime: OnnxRuntime = field(init=False, repr=False)

    def __post_init__(self) -> None:
        graphs = {"adapt": self.graphs.adapt, "predict": self.graphs.predict, "update": self.graphs.update}
        if self.graphs.few is not None:
            graphs["few"] = self.graphs.few
        runtime = OnnxRuntime(graphs)
        for graph in graphs:
            runtime.load(graph)  # now, since several threads will ask for it
        object.__setattr__(self, "_runtime", runtime)

    def block_sums(self, meta: Tree, support: NumpyBatch, query: NumpyBatch, block: int, limit: float) -> Tree:
        """See `Backend`."""
        rows = support.mask.shape[1] + query.mask.shape[1]
        if rows <= self.graphs.few_rows and limit == math.inf:
            full = {"support": full_blocks(support, block), "query": full_blocks(query, block)}
            sums = self._runtime.run("few", {"meta": meta, **{name: part._asdict() for name, part in full.items()}})
        else:
            groups = {"meta": meta, "support": support._asdict(), "query": query._asdict()}
            blocks = membership(len(support.mask), block)
            sums = self._runtime.run("update", {**groups, **_alone(blocks=blocks, clip=np.asarray(limit, np.float32))})
        return {name.removeprefix("update."): value for name, value in sums.items()}

    def adapt(self, meta: Tree, supports: NumpyBatch, knobs: Knobs) -> Tree:
        """See `Backend`."""
        return self._runtime.adapt(meta, supports, knobs)

    def predict(self, meta: Tree, states: Tree, x: Array) -> Array:
        """See `Backend`."""
        return self._runtime.predict(meta, states, x)


def _alone(**values: Array) -> dict[str, dict[str, Array]]:
    """Inputs that belong to no group."""
    return {name: {"": value} for name, value in values.items()}
