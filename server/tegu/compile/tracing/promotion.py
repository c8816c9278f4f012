"""Make the conversions of types in a recorded graph explicit, since ONNX has no arithmetic of mixed types."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx
from torch._dispatch.python import enable_python_dispatcher
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.traceback import preserve_node_meta
from torch.onnx._internal.fx.passes.type_promotion import (
    TypePromotionTable,
    _TypePromotionInterpreter,
    get_type_promotion_rule,
)

__all__ = ["promote_types"]


class _Recorded(_TypePromotionInterpreter):
    """Torch's pass, but for the values of nodes: they are recorded, and computing them anew is half of an export."""

    def run_node(self, n: fx.Node) -> Any:
        if "val" not in n.meta:
            return super().run_node(n)
        rule = get_type_promotion_rule(n, self.type_promotion_table)
        if rule is not None:
            with self._set_current_node(n):
                self._maybe_promote_node(n, rule)
        return n.meta["val"]


def promote_types(module: fx.GraphModule, fake: FakeTensorMode) -> None:
    """Insert conversions before the nodes of `module`, and of the bodies of its scans, that torch would convert for.

    Args:
        module: the graph; every node but the output and the bodies of scans has its value as `meta["val"]`.
        fake: the mode of these values.
    """
    table = TypePromotionTable()
    graphs = [each for each in module.modules() if isinstance(each, fx.GraphModule)]
    oblivious = torch.fx.experimental._config.patch(backed_size_oblivious=True)  # type: ignore[attr-defined] # as torch.onnx
    with oblivious:
        for graph in graphs:
            inputs = [node.meta.get("val") for node in graph.graph.find_nodes(op="placeholder")]
            with fake, enable_python_dispatcher(), preserve_node_meta():
                _Recorded(graph, table).run(*inputs)
