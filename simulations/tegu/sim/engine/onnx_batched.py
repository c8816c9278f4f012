"""Backend: a batch of users as one call of a graph in ONNX Runtime, the fastest for small models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tegu.client.runtimes.onnx_runtime import OnnxRuntime
from tegu.core.bundle.manifest import Knobs
from tegu.core.cohort_graphs import CohortGraphs
from tegu.core.data.batch import Array, NumpyBatch
from tegu.core.data.tree import Tree
from tegu.sim.engine.backend import UpdateSummation
from tegu.sim.engine.blocks import block_membership

__all__ = ["OnnxBatched"]


@dataclass(frozen=True)
class OnnxBatched:
    """Runs a batch of users as one call; see `Backend`.

    Attributes:
        graphs: result of `compile_cohort`.
    """

    graphs: CohortGraphs = field(repr=False)
    name: str = "onnx"
    by_user: bool = False
    _runtime: OnnxRuntime = field(init=False, repr=False)

    def __post_init__(self) -> None:
        graphs = {"adapt": self.graphs.adapt, "predict": self.graphs.predict, "update": self.graphs.update}
        if self.graphs.summed_update is not None:
            graphs["summed_update"] = self.graphs.summed_update
        runtime = OnnxRuntime(graphs)
        for graph in graphs:
            runtime.load(graph)  # now, before several threads use it
        object.__setattr__(self, "_runtime", runtime)

    def summed_update(self, rows: int) -> UpdateSummation | None:
        """See `Backend`."""
        usable = self.graphs.summed_update is not None and rows <= self.graphs.summed_update_rows
        return self._sum_unclipped if usable else None

    def _sum_unclipped(self, meta: Tree, support: NumpyBatch, query: NumpyBatch, noise: Array) -> Tree:
        return self._sums("summed_update", _sources(meta, support, query, noise))

    def block_sums(
        self, meta: Tree, support: NumpyBatch, query: NumpyBatch, noise: Array, block: int, limit: float
    ) -> Tree:
        """See `Backend`."""
        blocks = block_membership(len(support.mask), block)
        options = {"blocks": {"": blocks}, "clip": {"": np.asarray(limit, np.float32)}}
        return self._sums("update", {**_sources(meta, support, query, noise), **options})

    def _sums(self, graph: str, sources: Mapping[str, Mapping[str, Array]]) -> Tree:
        return {name.removeprefix("update."): value for name, value in self._runtime.run(graph, sources).items()}

    def adapt(self, meta: Tree, supports: NumpyBatch, knobs: Knobs, noise: Array) -> Tree:
        """See `Backend`."""
        return self._runtime.adapt(meta, supports, knobs, noise)

    def predict(self, meta: Tree, states: Tree, x: Array) -> Array:
        """See `Backend`."""
        return self._runtime.predict(meta, states, x)


def _sources(meta: Tree, support: NumpyBatch, query: NumpyBatch, noise: Array) -> dict[str, Mapping[str, Array]]:
    return {"meta": meta, "support": support._asdict(), "query": query._asdict(), "noise": {"": noise}}
