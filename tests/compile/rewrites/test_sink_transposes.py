"""Sinking transposes leaves fewer of them and the same results."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import shape_inference
from onnx_ir.passes import common

from tegu.compile.rewrites.fuse import fuse
from tegu.compile.rewrites.sink_transposes import sink_transposes

HEAD = '<ir_version: 9, opset_import: ["" : 18]> test (float[2,3,4] a, float[2,3,4] b, float[4,2,3] c, float[3] v)'
THERE, BACK = "Transpose<perm = [2, 0, 1]>", "Transpose<perm = [1, 2, 0]>"

# Nodes, and the number of transposes left.
SUNK = {
    "both": (f"s = {THERE}(a) t = {THERE}(b) u = Mul(s, t) w = {BACK}(u) y = Neg(w)", 0),
    "in a row": (f"s = {THERE}(a) t = Relu(s) u = Neg(t) w = {BACK}(u) y = Neg(w)", 0),
    "with a number": (f"s = {THERE}(a) u = Mul(s, two) w = {BACK}(u) y = Neg(w)", 0),
    "an attribute stays": (f"s = {THERE}(a) t = Cast<to = 7>(s) u = Cast<to = 1>(t) w = {BACK}(u) y = Neg(w)", 0),
    "a mask": (f"s = {THERE}(a) m = Greater(s, two) f = Cast<to = 1>(m) u = Mul(f, s) w = {BACK}(u) y = Neg(w)", 0),
    "one, undone after": (f"s = {THERE}(a) u = Mul(c, s) w = {BACK}(u) y = Neg(w)", 1),
    "one, read as it is": (f"s = {THERE}(a) u = Mul(c, s) w = {BACK}(u) r = Relu(u) y = {BACK}(r) z = Add(w, y)", 3),
    "a vector": (f"s = {THERE}(a) u = Mul(s, v) y = {BACK}(u)", 2),
    "different orders": (f"s = {THERE}(a) q = Transpose<perm = [0, 1, 2]>(c) u = Mul(s, q) y = {BACK}(u)", 2),
    "a result": (f"s = {THERE}(a) y = Relu(s)", 1),
}


@pytest.mark.parametrize("name", SUNK)
def test_same_results_with_fewer_transposes(name: str) -> None:
    body, left = SUNK[name]
    output = "z" if "z = " in body else "y"
    before = onnx.parser.parse_model(f"{HEAD} => (float {output}) <float two = {{2}}> {{ {body} }}")
    before.graph.output[0].type.tensor_type.ClearField("shape")
    after = ir.from_proto(shape_inference.infer_shapes(before))
    sink_transposes(after)
    fuse(after)
    common.IdentityEliminationPass()(after)
    rng = np.random.default_rng(0)
    shapes = {"a": (2, 3, 4), "b": (2, 3, 4), "c": (4, 2, 3), "v": (3,)}
    feed = {key: rng.standard_normal(shape).astype(np.float32) for key, shape in shapes.items()}
    found, expected = (
        ort.InferenceSession(m.SerializeToString()).run(None, feed)[0] for m in (ir.to_proto(after), before)
    )
    np.testing.assert_array_equal(found, expected)
    assert [node.op_type for node in after.graph].count("Transpose") == left
