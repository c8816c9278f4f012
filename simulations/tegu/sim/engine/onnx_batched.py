"""A batch of users as one call of a graph in ONNX Runtime: the fastest for small models."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tegu.client.runtime_onnx import OnnxRuntime
from tegu.core.batch import Array, NumpyBatch
from tegu.core.manifest import Knobs
from tegu.core.tree import Tree
from tegu.server.compile import CohortGraphs
from tegu.sim.engine.backend import UnclippedSum

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
        if self.graphs.unclipped is not None:
            graphs["unclipped"] = self.graphs.unclipped
        runtime = OnnxRuntime(graphs)
        for graph in graphs:
            runtime.load(graph)  # now, since several threads will ask for it
        object.__setattr__(self, "_runtime", runtime)

    @property
    def unclipped(self) -> UnclippedSum | None:
        """See `Backend`."""
        return None if self.graphs.unclipped is None else self._unclipped

    def _unclipped(self, meta: Tree, support: NumpyBatch, query: NumpyBatch) -> Tree:
        sources = {"meta": meta, "support": support._asdict(), "query": query._asdict()}
        sums = self._runtime.run("unclipped", sources)
        return {name.removeprefix("update."): value for name, value in sums.items()}

    def block_sums(self, meta: Tree, support: NumpyBatch, query: NumpyBatch, blocks: Array, limit: float) -> Tree:
        """See `Backend`."""
        sums = self._runtime.run(
            "update",
            {
                "meta": meta,
                "support": support._asdict(),
                "query": query._asdict(),
                "blocks": {"": blocks},
                "clip": {"": np.asarray(limit, np.float32)},
            },
        )
        return {name.removeprefix("update."): value for name, value in sums.items()}

    def adapt(self, meta: Tree, supports: NumpyBatch, knobs: Knobs) -> Tree:
        """See `Backend`."""
        return self._runtime.adapt(meta, supports, knobs)

    def predict(self, meta: Tree, states: Tree, x: Array) -> Array:
        """See `Backend`."""
        return self._runtime.predict(meta, states, x)
