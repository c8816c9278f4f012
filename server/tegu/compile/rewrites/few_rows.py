"""Combine two graphs of one function: the number of rows decides which of them runs."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from tegu.compile.rewrites.prefix import with_prefixed_names

__all__ = ["choose_by_rows"]

_INPUT = "x"  # its leading axis is the number of rows
_LIMIT = "most"  # part of the bytes of a bundle, and so of its identity


def choose_by_rows(few: onnx.ModelProto, many: onnx.ModelProto, limit: int) -> onnx.ModelProto:
    """A model that runs `few` if the input `x` has at most `limit` rows, and `many` otherwise.

    Args:
        few: computes the same outputs as `many` from the same inputs.
        many: its inputs and outputs become those of the result.
        limit: the largest number of rows for `few`.
    """
    constants = [helper.make_tensor(name, TensorProto.INT64, [], [n]) for name, n in (("first", 0), (_LIMIT, limit))]
    outputs = [value.name for value in many.graph.output]
    branches = {"then_branch": _branch(few, "few/"), "else_branch": _branch(many, "many/")}
    nodes = [
        helper.make_node("Shape", [_INPUT], ["shape"]),
        helper.make_node("Gather", ["shape", "first"], ["rows"]),
        helper.make_node("LessOrEqual", ["rows", _LIMIT], ["few"]),
        helper.make_node("If", ["few"], outputs, **branches),
    ]
    graph = helper.make_graph(nodes, many.graph.name, many.graph.input, many.graph.output, initializer=constants)
    model = helper.make_model(graph, opset_imports=many.opset_import, ir_version=many.ir_version)
    onnx.checker.check_model(model)
    return model


def _branch(model: onnx.ModelProto, prefix: str) -> onnx.GraphProto:
    """The model's graph without inputs. It reads the inputs of the graph around it."""
    graph: onnx.GraphProto = with_prefixed_names(model, prefix).graph
    graph.ClearField("input")
    return graph
