"""Softmax along a short axis, written with products: the same chances, whatever the numbers."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from tegu.compile.rewrites.short_softmax import narrow


def model(shape: str, axis: int) -> onnx.ModelProto:
    head = '<ir_version: 9, opset_import: ["" : 18]> test'
    return onnx.parser.parse_model(
        f"{head} (float[{shape}] x) => (float[{shape}] y) {{ s = Softmax<axis = {axis}>(x) y = Identity(s) }}"
    )


def narrowed(proto: onnx.ModelProto) -> onnx.ModelProto:
    rewritten = ir.from_proto(proto)
    narrow(rewritten)
    return ir.to_proto(rewritten)


def run(proto: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    (found,) = ort.InferenceSession(proto.SerializeToString()).run(None, {"x": x})
    return found


@pytest.mark.parametrize("axis", [-1, 2])
@pytest.mark.parametrize("largest", [1.0, 1e4, 1e30])
def test_chances_are_those_of_softmax(axis: int, largest: float) -> None:
    before = model("users,rows,10", axis)
    after = narrowed(before)
    assert "Softmax" not in {node.op_type for node in after.graph.node}
    x = np.random.default_rng(0).uniform(-largest, largest, (5, 7, 10)).astype(np.float32)
    x[0, 0] = x[0, 0, 0]
    x[1] -= largest  # a row of numbers far below the others'
    with np.errstate(over="ignore"):
        powers = np.exp(x.astype(np.float64) - x.max(-1, keepdims=True))
    expected = powers / powers.sum(-1, keepdims=True)
    for proto in (before, after):
        np.testing.assert_allclose(run(proto, x), expected, rtol=2e-6, atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "axis"), [("users,rows,17", -1), ("rows,10", -1), ("users,10,10", 1), ("users,rows,classes", -1)]
)
def test_others_are_left(shape: str, axis: int) -> None:
    """More classes, one user, another axis, a number of classes that is not known."""
    assert [node.op_type for node in narrowed(model(shape, axis)).graph.node] == ["Softmax", "Identity"]
