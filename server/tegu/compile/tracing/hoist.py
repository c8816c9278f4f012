"""Nodes of a loop's body that would give the same in every turn belong before the loop."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import onnx

__all__ = ["hoist"]


def hoist(
    nodes: Sequence[onnx.NodeProto], varying: Collection[str], results: Collection[str]
) -> tuple[list[onnx.NodeProto], list[onnx.NodeProto]]:
    """Those of `nodes` that depend on no value in `varying`, and the others; each in the order given.

    Args:
        nodes: in an order in which they can run.
        varying: names of values that change from turn to turn.
        results: names of values that the body gives: the nodes that make them stay in it.
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
    """Names that a node reads, and whatever is read within it."""
    graphs = (graph for entry in node.attribute for graph in (entry.g, *entry.graphs))
    return set(node.input).union(*(_read(inner) for graph in graphs for inner in graph.node))
