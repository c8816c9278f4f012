"""A prefix for the names in a model. `onnx.compose.add_prefix` misses constants that a scan's body reads."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

__all__ = ["with_prefixed_names"]


def with_prefixed_names(model: onnx.ModelProto, prefix: str) -> onnx.ModelProto:
    """A copy of the model in which all names have the prefix, but for those of the graph's inputs."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    kept = {"", *(value.name for value in copy.graph.input)}
    _rename(copy.graph, prefix, kept)
    return copy


def _rename(graph: onnx.GraphProto, prefix: str, kept: set[str]) -> None:
    for named in (*graph.input, *graph.output, *graph.value_info, *graph.initializer, *graph.node):
        named.name = named.name if named.name in kept else prefix + named.name
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [name if name in kept else prefix + name for name in names]
        for inner in _subgraphs(node):
            _rename(inner, prefix, kept)


def _subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs
