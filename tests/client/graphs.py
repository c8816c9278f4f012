"""Tiny learners as hand-built ONNX graphs, and the same in numpy: testing the client needs nothing of the server."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tegu.core.bundle.file import Bundle
from tegu.core.bundle.manifest import Manifest, ScheduleEntry
from tegu.core.data.batch import Array, NumpyBatch
from tegu.core.data.spec import Spec
from tegu.core.data.tree import Tree

FEATURES = 3
ITEMS = 12
FACTORS = 4

_FLOAT, _INT, _BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def _value(name: str, kind: int, *shape: int | str) -> Any:
    return helper.make_tensor_value_info(name, kind, list(shape))


def _constant(name: str, value: Array) -> Any:
    return numpy_helper.from_array(np.asarray(value), name)


def _model(nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: list[Any]) -> bytes:
    graph = helper.make_graph(nodes, "test", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model.SerializeToString()


_SCALARS = [_constant("one", np.float32(1)), _constant("two", np.float32(2)), _constant("axis0", np.array([0]))]


def _gradient(x: str, y: str, mask: str, weight: str, bias: str) -> list[Any]:
    """`grad.weight` [1, features] and `grad.bias` [1] of the masked mean squared error of a linear model."""
    node = helper.make_node
    return [
        node("Gemm", [x, weight, bias], ["output_"], transB=1),
        node("Sub", ["output_", y], ["residual_"]),
        node("Unsqueeze", [mask, "axis1"], ["column_"]),
        node("Mul", ["residual_", "column_"], ["real_"]),
        node("ReduceSum", [mask], ["rows_"], keepdims=0),
        node("Max", ["rows_", "one"], ["divisor_"]),
        node("Div", ["two", "divisor_"], ["factor_"]),
        node("Mul", ["real_", "factor_"], ["scaled_"]),
        node("Gemm", ["scaled_", x], ["grad.weight"], transA=1),
        node("ReduceSum", ["scaled_", "axis0"], ["grad.bias"], keepdims=0),
    ]


def _loop(step: list[Any], carried: dict[str, tuple[int, ...]]) -> Any:
    """An ONNX Loop of `knob.steps` turns: `step` maps `in.<name>` to `out.<name>` and sees the graph's inputs."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["going"], ["still_going"]), *step],
        "body",
        [_value("turn", _INT), _value("going", _BOOL), *(_value(f"in.{n}", _FLOAT, *s) for n, s in carried.items())],
        [_value("still_going", _BOOL), *(_value(f"out.{n}", _FLOAT, *s) for n, s in carried.items())],
    )
    begin = [f"meta.{name}" for name in carried]
    return helper.make_node("Loop", ["knob.steps", "", *begin], [f"state.{name}" for name in carried], body=body)


def _rows(name: str) -> list[Any]:
    return [
        _value(f"{name}.x", _FLOAT, "rows", FEATURES),
        _value(f"{name}.y", _FLOAT, "rows", 1),
        _value(f"{name}.mask", _FLOAT, "rows"),
    ]


def linear_graphs() -> dict[str, bytes]:
    """Linear regression by plain gradient steps; `update` is the query's gradient at `meta`."""
    shapes = {"weight": (1, FEATURES), "bias": (1,)}
    meta = [_value(f"meta.{name}", _FLOAT, *shape) for name, shape in shapes.items()]
    constants = [*_SCALARS, _constant("axis1", np.array([1]))]
    step = _gradient("support.x", "support.y", "support.mask", "in.weight", "in.bias")
    for name in shapes:
        step += [
            helper.make_node("Mul", ["knob.lr", f"grad.{name}"], [f"move.{name}"]),
            helper.make_node("Sub", [f"in.{name}", f"move.{name}"], [f"out.{name}"]),
        ]
    knobs = [_value("knob.steps", _INT), _value("knob.lr", _FLOAT)]
    states = [_value(f"state.{name}", _FLOAT, *shape) for name, shape in shapes.items()]
    predict = [helper.make_node("Gemm", ["x", "state.weight", "state.bias"], ["output"], transB=1)]
    update = _gradient("query.x", "query.y", "query.mask", "meta.weight", "meta.bias") + [
        helper.make_node("Identity", [f"grad.{name}"], [f"update.{name}"]) for name in shapes
    ]
    updates = [_value(f"update.{name}", _FLOAT, *shape) for name, shape in shapes.items()]
    output = [_value("output", _FLOAT, "rows", 1)]
    return {
        "adapt": _model([_loop(step, shapes)], meta + _rows("support") + knobs, states, constants),
        "predict": _model(predict, [*states, _value("x", _FLOAT, "rows", FEATURES)], output, []),
        "update": _model(update, meta + _rows("query"), updates, constants),
    }


def ranking_graphs(catalogue: int = ITEMS) -> dict[str, bytes]:
    """A user vector against fixed item vectors, by gradient steps on the weighted softmax over the catalogue."""
    node = helper.make_node
    items, user = _value("meta.items", _FLOAT, catalogue, FACTORS), _value("meta.user", _FLOAT, FACTORS)
    support = [
        _value("support.x", _INT, "rows"),
        _value("support.y", _FLOAT, "rows"),
        _value("support.mask", _FLOAT, "rows"),
    ]
    step = [
        node("Mul", ["support.y", "support.mask"], ["weights_"]),
        node("ReduceSum", ["support.mask"], ["rows_"], keepdims=0),
        node("Max", ["rows_", "one"], ["divisor_"]),
        node("Div", ["weights_", "divisor_"], ["share_"]),
        node("ReduceSum", ["share_"], ["total_"], keepdims=0),
        node("MatMul", ["meta.items", "in.user"], ["scores_"]),
        node("Softmax", ["scores_"], ["chance_"]),
        node("MatMul", ["chance_", "meta.items"], ["mean_"]),
        node("Mul", ["mean_", "total_"], ["expected_"]),
        node("Gather", ["meta.items", "support.x"], ["liked_"]),
        node("MatMul", ["share_", "liked_"], ["found_"]),
        node("Sub", ["expected_", "found_"], ["gradient_"]),
        node("Mul", ["knob.lr", "gradient_"], ["move_"]),
        node("Sub", ["in.user", "move_"], ["out.user"]),
    ]
    knobs = [_value("knob.steps", _INT), _value("knob.lr", _FLOAT)]
    state = _value("state.user", _FLOAT, FACTORS)
    predict = [
        node("Gather", ["meta.items", "x"], ["rows_"]),
        node("MatMul", ["rows_", "state.user"], ["output"]),
    ]
    return {
        "adapt": _model([_loop(step, {"user": (FACTORS,)})], [items, user, *support, *knobs], [state], _SCALARS),
        "predict": _model(predict, [items, state, _value("x", _INT, "rows")], [_value("output", _FLOAT, "rows")], []),
        "update": b"never loaded",
    }


def rating_graphs() -> dict[str, bytes]:
    """The scores of `ranking_graphs` as ratings `[rows, 1]`; adapting gives back the vector of the user."""
    node = helper.make_node
    items, user = _value("meta.items", _FLOAT, ITEMS, FACTORS), _value("meta.user", _FLOAT, FACTORS)
    state = _value("state.user", _FLOAT, FACTORS)
    predict = [
        node("Gather", ["meta.items", "x"], ["rows_"]),
        node("MatMul", ["rows_", "state.user"], ["flat_"]),
        node("Unsqueeze", ["flat_", "axis1"], ["output"]),
    ]
    adapt = _model([node("Identity", ["meta.user"], ["state.user"])], [user], [state], [])
    output = [_value("output", _FLOAT, "rows", 1)]
    constants = [_constant("axis1", np.array([1]))]
    return {
        "adapt": adapt,
        "predict": _model(predict, [items, state, _value("x", _INT, "rows")], output, constants),
        "update": b"never loaded",
    }


def linear_bundle(seed: int = 0, steps: int = 5, lr: float = 0.1, schedule: tuple[ScheduleEntry, ...] = ()) -> Bundle:
    rng = np.random.default_rng(seed)
    meta = {
        "weight": rng.normal(size=(1, FEATURES)).astype(np.float32),
        "bias": rng.normal(size=1).astype(np.float32),
    }
    knobs = {"steps": steps, "lr": lr}
    manifest = Manifest(
        "reptile",
        "none",
        Spec.regression((FEATURES,)),
        ("weight", "bias"),
        knobs,
        {**knobs, "steps": 0},
        schedule,
    )
    return Bundle(manifest, meta, linear_graphs())


def ranking_bundle(seed: int = 0, steps: int = 20, lr: float = 1.0, items: int = ITEMS) -> Bundle:
    rng = np.random.default_rng(seed)
    meta = {
        "items": rng.normal(size=(items, FACTORS)).astype(np.float32),
        "user": rng.normal(size=FACTORS).astype(np.float32),
    }
    knobs = {"steps": steps, "lr": lr}
    manifest = Manifest("reptile", "none", Spec.ranking(items), ("user",), knobs, {**knobs, "steps": 0})
    return Bundle(manifest, meta, ranking_graphs(items))


def rating_bundle() -> Bundle:
    bundle = ranking_bundle()
    manifest = replace(bundle.manifest, spec=Spec.regression((), items=ITEMS))
    return Bundle(manifest, bundle.meta, rating_graphs())


def linear_gradient(tree: Tree, batch: NumpyBatch) -> Tree:
    residual = (batch.x @ tree["weight"].T + tree["bias"] - batch.y) * batch.mask[:, None]
    factor = 2 / max(batch.mask.sum(), 1)
    return {"weight": factor * residual.T @ batch.x, "bias": factor * residual.sum(0)}


def linear_adapt(meta: Tree, batch: NumpyBatch, steps: int, lr: float) -> Tree:
    state = {name: value.astype(np.float64) for name, value in meta.items()}
    for _ in range(steps):
        gradient = linear_gradient(state, batch)
        state = {name: state[name] - lr * gradient[name] for name in state}
    return state


def linear_predict(state: Tree, x: Array) -> Array:
    return x @ state["weight"].T + state["bias"]


def ranking_adapt(meta: Tree, batch: NumpyBatch, steps: int, lr: float) -> Array:
    items, user = meta["items"].astype(np.float64), meta["user"].astype(np.float64)
    weights = batch.y * batch.mask / max(batch.mask.sum(), 1)
    for _ in range(steps):
        chance = np.exp(items @ user)
        chance /= chance.sum()
        user = user - lr * (weights.sum() * chance @ items - weights @ items[batch.x])
    return user


def linear_rows(rows: int, seed: int = 1) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, FEATURES)).astype(np.float32)
    y = (x @ np.array([[2.0], [-1.0], [0.5]]) + 3).astype(np.float32)
    return x, y
