"""Two graphs of one function as one: the number of rows chooses."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper
from onnx.compose import add_prefix

__all__ = ["choose_by_rows"]

_ROWS = "x"  # the input whose leading axis counts them


def choose_by_rows(few: onnx.ModelProto, many: onnx.ModelProto, most: int) -> onnx.ModelProto:
    """A model that runs `few` for up to `most` rows of the input `x`, and `many` for more.

    Args:
        few: gives what `many` gives, of the same inputs.
        many: its inputs and outputs are those of the result.
        most: rows.
    """
    constants = [helper.make_tensor(name, TensorProto.INT64, [], [n]) for name, n in (("first", 0), ("most", most))]
    outputs = [value.name for value in many.graph.output]
    branches = {"then_branch": _branch(few, "few/"), "else_branch": _branch(many, "many/")}
    nodes = [
        helper.make_node("Shape", [_ROWS], ["shape"]),
        helper.make_node("Gather", ["shape", "first"], ["rows"]),
        helper.make_node("LessOrEqual", ["rows", "most"], ["few"]),
        helper.make_node("If", ["few"], outputs, **branches),
    ]
    graph = helper.make_graph(nodes, many.graph.name, many.graph.input, many.graph.output, initializer=constants)
    model = helper.make_model(graph, opset_imports=many.opset_import, ir_version=many.ir_version)
    onnx.checker.check_model(model)
    return model


def _branch(model: onnx.ModelProto, prefix: str) -> onnx.GraphProto:
    """The model's graph without inputs of its own: it reads those of the graph around it."""
    graph: onnx.GraphProto = add_prefix(model, prefix, rename_inputs=False).graph
    graph.ClearField("input")
    return graph
