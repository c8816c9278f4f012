"""Graphs that take more than a publisher has any right to."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tegu.core.data.batch import Array

node = helper.make_node
FLOAT, INT, BOOL, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL, TensorProto.STRING


def value(name: str, kind: int = FLOAT, *shape: int) -> Any:
    return helper.make_tensor_value_info(name, kind, list(shape))


def constant(name: str, array: Any) -> Any:
    return numpy_helper.from_array(np.asarray(array), name)


def graph_of(nodes: Sequence[Any], constants: Sequence[Any] = (), output: Any = None) -> Any:
    """From `x` [1] to `y` [1]."""
    return helper.make_graph(list(nodes), "g", [value("x", FLOAT, 1)], [output or value("y", FLOAT, 1)], [*constants])


def model(nodes: Sequence[Any], constants: Sequence[Any] = (), output: Any = None, **more: Any) -> bytes:
    made = helper.make_model(graph_of(nodes, constants, output), opset_imports=[helper.make_opsetid("", 18)], **more)
    made.ir_version = 10
    return bytes(made.SerializeToString())


def sound() -> bytes:
    return model([node("Add", ["x", "one"], ["y"])], [constant("one", np.ones(1, np.float32))])


def body(depth: int = 0) -> Any:
    """A loop's body, which adds a number to itself; `depth` loops are within it."""
    inner = [node("Loop", ["few", "", "a"], ["b"], body=body(depth - 1))] if depth else [node("Add", ["a", "a"], ["b"])]
    return helper.make_graph(
        [node("Identity", ["go"], ["on"]), *inner],
        "body",
        [value("i", INT), value("go", BOOL), value("a", FLOAT, 1)],
        [value("on", BOOL), value("b", FLOAT, 1)],
    )


def loop(turns: Array | int, depth: int = 0) -> bytes:
    constants = [constant("turns", np.int64(turns)), constant("few", np.int64(2))]
    return model([node("Loop", ["turns", "", "x"], ["y"], body=body(depth))], constants)


def hidden_loop() -> bytes:
    """A loop of 2^62 turns, whose number is computed, so that no check of constants finds it."""
    squared = [node("Mul", ["half", "half"], ["turns"])]
    constants = [constant("half", np.int64(1 << 31))]
    return model([*squared, node("Loop", ["turns", "", "x"], ["y"], body=body())], constants)


def doubling(times: int, of: str = "x") -> bytes:
    """A value of 2^times numbers."""
    names = [of, *(f"d{i}" for i in range(times))]
    nodes = [node("Concat", [a, a], [b], axis=0) for a, b in pairwise(names)]
    total = [node("ReduceSum", [names[-1]], ["sum"], keepdims=1), node("Add", ["sum", "x"], ["y"])]
    return model([*nodes, *total], [constant("one", np.ones(1, np.float32))])


def filled(operator: str, size: int) -> bytes:
    """A value of `size` numbers, from a constant shape."""
    made = {"ConstantOfShape": ["shape"], "Expand": ["x", "shape"], "Tile": ["x", "shape"]}[operator]
    nodes = [node(operator, made, ["much"]), node("ReduceSum", ["much"], ["y"], keepdims=1)]
    return model(nodes, [constant("shape", np.array([size], np.int64))])


def elsewhere(location: str, **more: str) -> bytes:
    """A constant whose data lie in a file."""
    tensor = constant("one", np.ones(1, np.float32))
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=text)
    return model([node("Add", ["x", "one"], ["y"])], [tensor])


def with_function() -> bytes:
    function = helper.make_function("", "Double", ["a"], ["b"], [node("Add", ["a", "a"], ["b"])], [])
    return model([node("Double", ["x"], ["y"])], functions=[function])
