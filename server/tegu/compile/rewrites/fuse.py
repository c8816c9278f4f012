"""Replace two ONNX nodes with one. A small model's step spends most of its time between nodes, not in them."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir
from onnx_ir import convenience
from onnx_ir.passes import common
from onnxscript.rewriter import RewritePass
from onnxscript.rewriter.rules import common as rules

from tegu.compile.rewrites.replace_node import replace_node

__all__ = ["fuse"]

_STEEP_SLOPE = 3e38  # HardSigmoid is then 1 for every number from 3e-39
_CONSTANT_SHAPES = RewritePass([rules.materialize_reshape_shape_rule])  # Reshape infers one unknown size


def fuse(model: ir.Model) -> None:
    """Rewrite the model's graph in place."""
    _CONSTANT_SHAPES(model)
    for rewrite in (
        _multiplication_by_one,
        _redundant_expand,
        _addition_of_zero,
        _repeated_transpose,
        _matmul_to_gemm,
        _transpose_into_gemm,
        _subtraction_into_gemm,
        _reshape_into_sum,
        _exp_of_log_softmax,
        _greater_than_zero,
    ):
        for node in list(model.graph):
            rewrite(node)
        common.RemoveUnusedNodesPass()(model)  # so that the next rewrite counts only real readers of a value


def _multiplication_by_one(node: ir.Node) -> None:
    """Multiplication by 1: x * 1 is x."""
    for value, factor in (node.inputs, node.inputs[::-1]) if node.op_type == "Mul" else ():
        if _number(factor) == 1 and _same_shape(value, node.outputs[0]):
            _bypass(node, value)
            return


def _addition_of_zero(node: ir.Node) -> None:
    """Addition of 0: x + 0 is x. The number must be exactly 0: onnxscript's rule also drops an epsilon of 1e-8."""
    for value, term in (node.inputs, node.inputs[::-1]) if node.op_type == "Add" else ():
        if _number(term) == 0 and _same_shape(value, node.outputs[0]):
            _bypass(node, value)
            return


def _redundant_expand(node: ir.Node) -> None:
    """Arithmetic broadcasts its inputs, so it needs no Expand."""
    if node.op_type not in ("Add", "Sub", "Mul", "Div"):
        return
    for index, other in ((0, node.inputs[1]), (1, node.inputs[0])):
        expand = _producer_of_type(node, index, "Expand")
        if expand is not None and _same_shape(other, node.outputs[0]):
            node.replace_input_with(index, expand.inputs[0])
            return


def _repeated_transpose(node: ir.Node) -> None:
    """Transpose(Transpose(x)) is one Transpose, or x if the axes end in their first order."""
    if node.op_type != "Transpose":
        return
    order, source = list(node.attributes["perm"].as_ints()), node
    inner = _producer_of_type(node, 0, "Transpose")
    if inner is not None:
        order, source = [inner.attributes["perm"].as_ints()[axis] for axis in order], inner
    if order == sorted(order):
        _bypass(node, source.inputs[0])
    elif inner is not None:
        _replace(node, "Transpose", inner.inputs, perm=order)


def _matmul_to_gemm(node: ir.Node) -> None:
    """A product of two matrices is a Gemm, which can also transpose, scale and add."""
    if node.op_type == "MatMul" and all(_rank(value) == 2 for value in node.inputs):
        _replace(node, "Gemm", node.inputs)


def _transpose_into_gemm(node: ir.Node) -> None:
    """Gemm transposes its inputs, so it needs no Transpose."""
    if node.op_type != "Gemm":
        return
    inputs, flags = list(node.inputs), _flags(node)
    for index, flag in enumerate(("transA", "transB")):
        transpose = _producer_of_type(node, index, "Transpose")
        if transpose is not None and list(transpose.attributes["perm"].as_ints()) == [1, 0]:
            inputs[index] = transpose.inputs[0]
            flags[flag] = 1 - flags[flag]
    if inputs != list(node.inputs):
        _replace(node, "Gemm", inputs, **flags)


def _subtraction_into_gemm(node: ir.Node) -> None:
    """A matrix minus a product is one Gemm, unless the product has other readers."""
    product = _producer_of_type(node, 1, "Gemm") if node.op_type == "Sub" else None
    if product is None or len(product.inputs) != 2 or len(product.outputs[0].uses()) != 1:
        return
    whole, part = node.inputs[0], product.outputs[0]
    if _same_shape(whole, part) and not part.is_graph_output():
        flags = _flags(product)
        _replace(node, "Gemm", [*product.inputs, whole], **{**flags, "alpha": -flags["alpha"], "beta": 1.0})


def _reshape_into_sum(node: ir.Node) -> None:
    """A ReduceSum that keeps its axes, and a Reshape that drops them, are a ReduceSum that drops its axes."""
    total = _producer_of_type(node, 0, "ReduceSum") if node.op_type == "Reshape" else None
    if total is None or len(total.inputs) != 2 or total.inputs[1] is None:
        return
    axes, kept = convenience.get_const_tensor(total.inputs[1]), total.outputs[0].shape
    if axes is None or kept is None or not total.attributes.get_int("keepdims", 1):
        return
    summed = {int(axis) % len(kept) for axis in axes.numpy()}
    if summed and node.outputs[0].shape == [size for axis, size in enumerate(kept) if axis not in summed]:
        _replace(node, "ReduceSum", total.inputs, keepdims=0)


def _exp_of_log_softmax(node: ir.Node) -> None:
    """Exp(LogSoftmax(x)) is Softmax(x)."""
    logarithm = _producer_of_type(node, 0, "LogSoftmax") if node.op_type == "Exp" else None
    if logarithm is not None:
        _replace(node, "Softmax", logarithm.inputs, axis=logarithm.attributes.get_int("axis", -1))


def _greater_than_zero(node: ir.Node) -> None:
    """Cast(x > 0) is a HardSigmoid of x: 1 above 0, and 0 otherwise."""
    above = _producer_of_type(node, 0, "Greater") if node.op_type == "Cast" else None
    if above is None or _number(above.inputs[1]) != 0:
        return
    dtype = above.inputs[0].type if above.inputs[0] is not None else None
    if node.attributes["to"].as_int() == ir.DataType.FLOAT and dtype == ir.TensorType(ir.DataType.FLOAT):
        _replace(node, "HardSigmoid", [above.inputs[0]], alpha=_STEEP_SLOPE, beta=0.0)


def _number(value: ir.Value | None) -> float | None:
    """The value of a constant with one element. None means anything else."""
    constant = None if value is None else convenience.get_const_tensor(value)
    return None if constant is None or constant.size != 1 else float(constant.numpy().item())


def _producer_of_type(node: ir.Node, index: int, operator: str) -> ir.Node | None:
    """The node that makes an input, if it is of this operator type."""
    value = node.inputs[index]
    producer = None if value is None else value.producer()
    return producer if producer is not None and producer.op_type == operator else None


def _rank(value: ir.Value | None) -> int | None:
    return None if value is None or value.shape is None else len(value.shape)


def _same_shape(a: ir.Value | None, b: ir.Value | None) -> bool:
    """Whether two values certainly have the same shape."""
    return a is not None and b is not None and a.shape is not None and a.shape == b.shape


def _bypass(node: ir.Node, value: ir.Value | None) -> None:
    """Replace the node's output with `value`, unless it is an output of the graph, which must keep its name."""
    if value is not None and not node.outputs[0].is_graph_output():
        convenience.replace_all_uses_with(node.outputs[0], value)


def _flags(gemm: ir.Node) -> dict[str, int | float]:
    transposes = {name: gemm.attributes.get_int(name, 0) for name in ("transA", "transB")}
    return {**transposes, **{name: gemm.attributes.get_float(name, 1.0) for name in ("alpha", "beta")}}


def _replace(
    node: ir.Node, operator: str, inputs: Sequence[ir.Value | None], **attributes: float | Sequence[int]
) -> None:
    replace_node(node, [ir.node(operator, inputs, attributes, name=node.name)])
