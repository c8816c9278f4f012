"""Fewer nodes: one ONNX operator where two stood. A small model's step spends its time between nodes, not in them."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir
from onnx_ir import convenience
from onnx_ir.passes import common
from onnxscript.rewriter import RewritePass
from onnxscript.rewriter.rules import common as rules

from tegu.compile.rewrites.replace_node import replace_node

__all__ = ["fuse"]

_STEEP = 3e38  # so that a HardSigmoid is 1 from 3e-39 on
_FIXED_SHAPES = RewritePass([rules.materialize_reshape_shape_rule])  # of Reshape, which finds one size by itself


def fuse(model: ir.Model) -> None:
    """Rewrite the model's graph in place."""
    _FIXED_SHAPES(model)
    for rule in (
        _once,
        _expanded,
        _nothing,
        _transposed,
        _product,
        _product_of_transposed,
        _minus_product,
        _sum_without_axes,
        _softmax,
        _positive,
    ):
        for node in list(model.graph):
            rule(node)
        common.RemoveUnusedNodesPass()(model)  # so that the next rule sees who still reads a value


def _once(node: ir.Node) -> None:
    """A product with the number 1."""
    for value, factor in (node.inputs, node.inputs[::-1]) if node.op_type == "Mul" else ():
        if _number(factor) == 1 and _alike(value, node.outputs[0]):
            _skip(node, value)
            return


def _nothing(node: ir.Node) -> None:
    """A sum with the number 0. Exactly: onnxscript's rule drops an epsilon of 1e-8 too."""
    for value, term in (node.inputs, node.inputs[::-1]) if node.op_type == "Add" else ():
        if _number(term) == 0 and _alike(value, node.outputs[0]):
            _skip(node, value)
            return


def _expanded(node: ir.Node) -> None:
    """Arithmetic broadcasts by itself."""
    if node.op_type not in ("Add", "Sub", "Mul", "Div"):
        return
    for place, other in ((0, node.inputs[1]), (1, node.inputs[0])):
        expand = _input_made_by(node, place, "Expand")
        if expand is not None and _alike(other, node.outputs[0]):
            node.replace_input_with(place, expand.inputs[0])
            return


def _transposed(node: ir.Node) -> None:
    """Transpose(Transpose(x)) is one Transpose; one that leaves the axes in order is nothing."""
    if node.op_type != "Transpose":
        return
    order, source = list(node.attributes["perm"].as_ints()), node
    inner = _input_made_by(node, 0, "Transpose")
    if inner is not None:
        order, source = [inner.attributes["perm"].as_ints()[axis] for axis in order], inner
    if order == sorted(order):
        _skip(node, source.inputs[0])
    elif inner is not None:
        _replace(node, "Transpose", inner.inputs, perm=order)


def _product(node: ir.Node) -> None:
    """A product of matrices is a Gemm, which transposes, scales and adds while it multiplies."""
    if node.op_type == "MatMul" and all(_rank(value) == 2 for value in node.inputs):
        _replace(node, "Gemm", node.inputs)


def _product_of_transposed(node: ir.Node) -> None:
    """Gemm transposes its matrices by itself."""
    if node.op_type != "Gemm":
        return
    inputs, flags = list(node.inputs), _flags(node)
    for place, flag in enumerate(("transA", "transB")):
        transpose = _input_made_by(node, place, "Transpose")
        if transpose is not None and list(transpose.attributes["perm"].as_ints()) == [1, 0]:
            inputs[place] = transpose.inputs[0]
            flags[flag] = 1 - flags[flag]
    if inputs != list(node.inputs):
        _replace(node, "Gemm", inputs, **flags)


def _minus_product(node: ir.Node) -> None:
    """A matrix minus a product that serves nothing else."""
    product = _input_made_by(node, 1, "Gemm") if node.op_type == "Sub" else None
    if product is None or len(product.inputs) != 2 or len(product.outputs[0].uses()) != 1:
        return
    whole, part = node.inputs[0], product.outputs[0]
    if _alike(whole, part) and not part.is_graph_output():
        flags = _flags(product)
        _replace(node, "Gemm", [*product.inputs, whole], **{**flags, "alpha": -flags["alpha"], "beta": 1.0})


def _sum_without_axes(node: ir.Node) -> None:
    """A sum that keeps its axes at size 1, and a Reshape that drops them."""
    total = _input_made_by(node, 0, "ReduceSum") if node.op_type == "Reshape" else None
    if total is None or len(total.inputs) != 2 or total.inputs[1] is None:
        return
    axes, kept = convenience.get_const_tensor(total.inputs[1]), total.outputs[0].shape
    if axes is None or kept is None or not total.attributes.get_int("keepdims", 1):
        return
    summed = {int(axis) % len(kept) for axis in axes.numpy()}
    if summed and node.outputs[0].shape == [size for axis, size in enumerate(kept) if axis not in summed]:
        _replace(node, "ReduceSum", total.inputs, keepdims=0)


def _softmax(node: ir.Node) -> None:
    """Exp(LogSoftmax(x))."""
    logarithm = _input_made_by(node, 0, "LogSoftmax") if node.op_type == "Exp" else None
    if logarithm is not None:
        _replace(node, "Softmax", logarithm.inputs, axis=logarithm.attributes.get_int("axis", -1))


def _positive(node: ir.Node) -> None:
    """1 for a number above 0, else 0: in one go where comparing and casting are two."""
    above = _input_made_by(node, 0, "Greater") if node.op_type == "Cast" else None
    if above is None or _number(above.inputs[1]) != 0:
        return
    kind = above.inputs[0].type if above.inputs[0] is not None else None
    if node.attributes["to"].as_int() == ir.DataType.FLOAT and kind == ir.TensorType(ir.DataType.FLOAT):
        _replace(node, "HardSigmoid", [above.inputs[0]], alpha=_STEEP, beta=0.0)


def _number(value: ir.Value | None) -> float | None:
    """The value of a constant of one element."""
    constant = None if value is None else convenience.get_const_tensor(value)
    return None if constant is None or constant.size != 1 else float(constant.numpy().item())


def _input_made_by(node: ir.Node, place: int, operator: str) -> ir.Node | None:
    value = node.inputs[place]
    producer = None if value is None else value.producer()
    return producer if producer is not None and producer.op_type == operator else None


def _rank(value: ir.Value | None) -> int | None:
    return None if value is None or value.shape is None else len(value.shape)


def _alike(a: ir.Value | None, b: ir.Value | None) -> bool:
    """Whether two values surely have one shape."""
    return a is not None and b is not None and a.shape is not None and a.shape == b.shape


def _skip(node: ir.Node, value: ir.Value | None) -> None:
    """Let everyone read `value` in place of what the node makes, unless that is a result, which has its name."""
    if value is not None and not node.outputs[0].is_graph_output():
        convenience.replace_all_uses_with(node.outputs[0], value)


def _flags(gemm: ir.Node) -> dict[str, int | float]:
    flips = {name: gemm.attributes.get_int(name, 0) for name in ("transA", "transB")}
    return {**flips, **{name: gemm.attributes.get_float(name, 1.0) for name in ("alpha", "beta")}}


def _replace(
    node: ir.Node, operator: str, inputs: Sequence[ir.Value | None], **attributes: float | Sequence[int]
) -> None:
    replace_node(node, [ir.node(operator, inputs, attributes, name=node.name)])
