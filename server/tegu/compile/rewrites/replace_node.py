"""New nodes where one stood."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir
from onnx_ir import convenience

__all__ = ["replace_node"]


def replace_node(node: ir.Node, new: Sequence[ir.Node]) -> None:
    """Who reads what `node` makes reads what the last of `new` makes: under its name, of its shape and type."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)  # noqa: S101 # nodes in a model always have theirs
    convenience.replace_nodes_and_values(graph, node, [node], new, node.outputs, new[-1].outputs)
