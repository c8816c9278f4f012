"""Fused graphs have fewer nodes and the same results."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import shape_inference

from tegu.compile.rewrites.fuse import fuse

INPUTS = {"a": (3, 4), "b": (4, 5), "bt": (5, 4), "c": (3, 5), "v": (5,), "image": (2, 3, 4), "square": (4, 4)}
FIXED = (
    "int64[1] first = {0}, int64[1] flat = {12}, int64[1] five = {5}, int64[2] wide = {3, 5}, "
    "float one = {1}, float two = {2}, float none = {0}, int64[1] all = {-1}, int64 rows = {0}, "
    "float[1,1] matrix = {1}, float nearly = {1.000002}, float tiny = {1e-8}"
)


def model(body: str) -> onnx.ModelProto:
    """A model with the nodes of `body` and the outputs `y` and `z`, if `body` has them."""
    outputs = [name for name in "yz" if f"{name} = " in body]
    inputs = ", ".join(f"float[{','.join(map(str, shape))}] {name}" for name, shape in INPUTS.items())
    head = '<ir_version: 9, opset_import: ["" : 18]> test'
    parsed = onnx.parser.parse_model(
        f"{head} ({inputs}) => ({', '.join(f'float {name}' for name in outputs)}) <{FIXED}> {{ {body} }}"
    )
    for value in parsed.graph.output:
        value.type.tensor_type.ClearField("shape")
    return shape_inference.infer_shapes(parsed, data_prop=True)


def run(proto: onnx.ModelProto) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    rng = np.random.default_rng(0)
    feed = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in INPUTS.items()}
    found: list[np.ndarray] = ort.InferenceSession(proto.SerializeToString(), options).run(None, feed)
    return found


def fused(body: str) -> list[str]:
    """The operators after fusing, having asserted that the results are the same."""
    before = model(body)
    after = ir.from_proto(before)
    fuse(after)
    assert [value.name for value in after.graph.outputs] == [value.name for value in before.graph.output]
    for found, expected in zip(run(ir.to_proto(after)), run(before), strict=True):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    return [node.op_type for node in after.graph]


FUSED = {
    "product": ("y = MatMul(a, b)", ["Gemm"]),
    "of transposed": ("t = Transpose<perm = [1, 0]>(bt) y = MatMul(a, t)", ["Gemm"]),
    "both transposed": (
        "s = Transpose<perm = [1, 0]>(b) t = Transpose<perm = [1, 0]>(a) y = MatMul(s, t)",
        ["Gemm"],
    ),
    "with a sum": ("t = Transpose<perm = [1, 0]>(bt) y = Gemm<alpha = 0.5, beta = 2.0>(a, t, v)", ["Gemm"]),
    "transposed by Gemm too": ("t = Transpose<perm = [1, 0]>(b) y = Gemm<transB = 1>(a, t)", ["Gemm"]),
    "minus a product": ("p = MatMul(a, b) y = Sub(c, p)", ["Gemm"]),
    "minus a scaled product": (
        "t = Transpose<perm = [1, 0]>(bt) p = Gemm<alpha = 0.5>(a, t) y = Sub(c, p)",
        ["Gemm"],
    ),
    "transposed twice": (
        "s = Transpose<perm = [1, 2, 0]>(image) t = Transpose<perm = [2, 0, 1]>(s) y = Relu(t)",
        ["Relu"],
    ),
    "transposed twice to something else": (
        "s = Transpose<perm = [1, 2, 0]>(image) t = Transpose<perm = [1, 0, 2]>(s) y = Relu(t)",
        ["Transpose", "Relu"],
    ),
    "axes left in order": ("t = Transpose<perm = [0, 1]>(b) y = MatMul(a, t)", ["Gemm"]),
    "times one": ("t = Mul(one, c) y = Relu(t)", ["Relu"]),
    "plus nothing": ("t = Add(c, none) y = Relu(t)", ["Relu"]),
    "above nothing": ("t = Greater(c, none) y = Cast<to = 1>(t)", ["HardSigmoid"]),
    "one size unknown": (
        "s = Shape(c) i = Gather(s, rows) r = Reshape(i, all) t = Concat<axis = 0>(r, five) y = Reshape(c, t)",
        ["Constant", "Reshape"],
    ),
    "expanded": ("t = Expand(v, wide) y = Mul(c, t)", ["Mul"]),
    "sum and reshape": ("t = ReduceSum<keepdims = 1>(c, first) y = Reshape(t, five)", ["ReduceSum"]),
    "softmax": ("t = LogSoftmax<axis = 0>(c) y = Exp(t)", ["Softmax"]),
}


@pytest.mark.parametrize("name", FUSED)
def test_nodes_are_fused(name: str) -> None:
    body, operators = FUSED[name]
    assert fused(body) == operators


KEPT = {
    "a product that serves twice": ("p = MatMul(a, b) q = Sub(c, p) y = Mul(p, q)", ["Gemm", "Sub", "Mul"]),
    "a product that is broadcast": ("p = Gemm(a, b) y = Sub(v, p)", ["Gemm", "Sub"]),
    "a product with a sum of its own": ("p = Gemm(a, b, v) y = Sub(c, p)", ["Gemm", "Sub"]),
    "a product of many matrices": (
        "t = Transpose<perm = [0, 2, 1]>(image) y = MatMul(image, t)",
        ["Transpose", "MatMul"],
    ),
    "times one, to one more axis": ("t = Mul(matrix, v) y = Relu(t)", ["Mul", "Relu"]),
    "times two": ("t = Mul(two, c) y = Relu(t)", ["Mul", "Relu"]),
    "times nearly one": ("t = Mul(c, nearly) y = Relu(t)", ["Mul", "Relu"]),
    "plus an epsilon": ("t = Add(c, tiny) y = Relu(t)", ["Add", "Relu"]),
    "plus one": ("t = Add(c, one) y = Relu(t)", ["Add", "Relu"]),
    "above one": ("t = Greater(c, one) y = Cast<to = 1>(t)", ["Greater", "Cast"]),
    "above nothing, in float64": (
        "t = Greater(c, none) s = Cast<to = 11>(t) y = Cast<to = 1>(s)",
        ["Greater", "Cast", "Cast"],
    ),
    "a size unknown, and one to be found": (
        "s = Shape(c) i = Gather(s, rows) r = Reshape(i, all) t = Concat<axis = 0>(r, all) y = Reshape(c, t)",
        ["Shape", "Gather", "Reshape", "Concat", "Reshape"],
    ),
    "an expansion that matters": ("t = Expand(v, wide) y = Mul(v, t)", ["Expand", "Mul"]),
    "a result that is transposed twice": (
        "s = Transpose<perm = [1, 0]>(c) y = Transpose<perm = [1, 0]>(s)",
        ["Transpose", "Transpose"],
    ),
    "a result with its axes in order": (
        "z = Transpose<perm = [0, 1]>(square) y = MatMul(a, z)",
        ["Transpose", "Gemm"],
    ),
    "a reshape to something else": (
        "t = ReduceSum<keepdims = 1>(image, first) y = Reshape(t, flat)",
        ["ReduceSum", "Reshape"],
    ),
}


@pytest.mark.parametrize("name", KEPT)
def test_nodes_are_kept_if_fusing_would_change_the_result(name: str) -> None:
    body, operators = KEPT[name]
    assert fused(body) == operators
