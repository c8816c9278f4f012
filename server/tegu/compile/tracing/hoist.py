"""Loop-invariant nodes: those that give the same result in every iteration can run once, before the loop."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import onnx

__all__ = ["hoist_invariant"]


def hoist_invariant(
    nodes: Sequence[onnx.NodeProto], varying: Collection[str], results: Collection[str]
) -> tuple[list[onnx.NodeProto], list[onnx.NodeProto]]:
    """Split a loop's body into the nodes to run before the loop and the nodes to keep; both keep their order.

    Args:
        nodes: the body's nodes, in an order in which they can run.
        varying: names of values that change between iterations.
        results: names of the body's outputs. The nodes that make them stay in the body.
    """
    before, within = list[onnx.NodeProto](), list[onnx.NodeProto]()
    changing = set(varying)
    for node in nodes:
        if changing.isdisjoint(_read(node)) and not any(name in results for name in node.output):
            before.append(node)
        else:
            within.append(node)
            changing.update(node.output)
    return before, within


def _read(node: onnx.NodeProto) -> set[str]:
    """Names that a node or one of its subgraphs reads."""
    graphs = (graph for entry in node.attribute for graph in (entry.g, *entry.graphs))
    return set(node.input).union(*(_read(inner) for graph in graphs for inner in graph.node))
