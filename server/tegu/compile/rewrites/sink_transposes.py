"""Move transposes behind elementwise operators, so that they meet other transposes and cancel."""

from __future__ import annotations

import onnx_ir as ir

from tegu.compile.rewrites.replace_node import replace_node

__all__ = ["sink_transposes"]

_ELEMENTWISE = {"Add", "Cast", "Div", "Equal", "Greater", "Less", "Max", "Min", "Mul", "Neg", "Relu", "Sqrt", "Sub"}


def sink_transposes(model: ir.Model) -> None:
    """Rewrite `op(Transpose(a), Transpose(b))` to `Transpose(op(a, b))`, in place.

    If one input is not transposed, it gets the inverse transpose, provided that this removes the transposes of the
    result.
    """
    for node in list(model.graph):
        order = _order(node) if node.op_type in _ELEMENTWISE else None
        if order is not None:
            _sink(node, order)


def _order(node: ir.Node) -> list[int] | None:
    """The axes of a transpose that can move behind `node`. None means that none can."""
    result = node.outputs[0]
    if result.is_graph_output() or result.shape is None:
        return None
    orders = [_permutation(value) for value in node.inputs if not _is_number(value)]
    known = [order for order in orders if order is not None]
    if not known or any(order != known[0] for order in known):
        return None
    if len(known) == len(orders):
        return known[0]
    whole = all(_is_number(value) or (value is not None and value.shape == result.shape) for value in node.inputs)
    undone = all(_permutation(user.outputs[0]) == _inverse(known[0]) for user, _ in result.uses())
    return known[0] if whole and undone else None


def _sink(node: ir.Node, order: list[int]) -> None:
    old, nodes, inputs = node.outputs[0], list[ir.Node](), list[ir.Value | None]()
    for value in node.inputs:
        producer = None if value is None else value.producer()
        if _is_number(value):
            inputs.append(value)
        elif _permutation(value) is not None and producer is not None:
            inputs.append(producer.inputs[0])
        else:
            nodes.append(ir.node("Transpose", [value], {"perm": _inverse(order)}))
            inputs.append(nodes[-1].outputs[0])
    inner = ir.node(node.op_type, inputs, dict(node.attributes), name=node.name)
    back = ir.node("Transpose", inner.outputs, {"perm": order})
    assert old.shape is not None  # noqa: S101 # `_order` has checked it
    inner.outputs[0].shape = ir.Shape([old.shape[axis] for axis in _inverse(order)])
    inner.outputs[0].type = old.type
    replace_node(node, [*nodes, inner, back])


def _permutation(value: ir.Value | None) -> list[int] | None:
    producer = None if value is None else value.producer()
    return list(producer.attributes["perm"].as_ints()) if producer and producer.op_type == "Transpose" else None


def _inverse(order: list[int]) -> list[int]:
    return sorted(range(len(order)), key=order.__getitem__)


def _is_number(value: ir.Value | None) -> bool:
    return value is not None and value.shape is not None and len(value.shape) == 0
