"""Replace a node of a graph with new nodes."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir
from onnx_ir import convenience

__all__ = ["replace_node"]


def replace_node(node: ir.Node, new: Sequence[ir.Node]) -> None:
    """Replace `node`: the outputs of the last node in `new` take over its outputs' readers, names, shapes and types."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)  # noqa: S101 # every node of a model has a graph
    convenience.replace_nodes_and_values(graph, node, [node], new, node.outputs, new[-1].outputs)
