"""The loop over steps in a graph, compared with one step at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tests.compile.families import FAMILIES
from tests.compile.running import DeviceGraphsOf, knobs, rows, run, start

from tegu.compile.tracing.hoist import hoist_invariant
from tegu.compile.tracing.loop import loop_model
from tegu.core.errors import CompileError


@pytest.mark.parametrize("name", ["relu", "gelu_layernorm", "maxpool"])
def test_seven_steps_in_one_call_equal_seven_calls_bit_for_bit(name: str, device_graphs: DeviceGraphsOf) -> None:
    learner, graph = FAMILIES[name].learner(), device_graphs(name)["adapt"]
    meta, support = start(learner), rows(learner.spec, 6, padding=1)
    at_once = run(graph, meta=meta, support=support, knob=knobs(learner, steps=7))
    for _ in range(7):
        found = run(graph, meta=meta, support=support, knob=knobs(learner, steps=1))
        meta = {key.removeprefix("state."): value for key, value in found.items()}
    for key, value in at_once.items():
        np.testing.assert_array_equal(value, meta[key.removeprefix("state.")], err_msg=key)


@pytest.mark.parametrize("name", ["relu", "adam", "maxpool", "tokens"])
def test_every_node_in_the_loop_depends_on_the_previous_step(name: str, device_graphs: DeviceGraphsOf) -> None:
    (loop,) = [n for n in onnx.load_from_string(device_graphs(name)["adapt"]).graph.node if n.op_type == "Loop"]
    body = loop.attribute[0].g
    changing = {value.name for value in body.input}
    for node in body.node:
        assert changing & set(node.input), node
        changing |= set(node.output)


def node(*names: str, **attributes: Any) -> onnx.NodeProto:
    """A Sum node; the last of `names` is its output."""
    return helper.make_node("Sum", names[:-1], names[-1:], **attributes)


def test_hoisting_splits_invariant_nodes_from_the_rest() -> None:
    branch = helper.make_graph([node("w", "inside")], "branch", [], [])
    nodes = [
        node("a", "b"),
        node("carry", "c"),
        node("b", "d"),
        node("b", "c", "e"),
        node("b", "next"),
        node("b", "f", then_branch=branch),
        node("e", "w"),
        node("b", "g", then_branch=branch),
    ]
    before, within = hoist_invariant(nodes, {"carry"}, {"next"})
    assert [n.output[0] for n in before] == ["b", "d", "f"]
    assert [n.output[0] for n in within] == ["c", "e", "next", "w", "g"]


def graph(nodes: list[onnx.NodeProto], inputs: list[str], outputs: list[str], opset: int = 18) -> onnx.ModelProto:
    """A model whose inputs and outputs are vectors."""
    given, made = (
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n"]) for n in names] for names in (inputs, outputs)
    )
    return helper.make_model(
        helper.make_graph(nodes, "g", given, made), opset_imports=[helper.make_opsetid("", opset)], ir_version=9
    )


BEGIN = graph(
    [helper.make_node("Identity", ["meta.p"], [f"begin.{name}"]) for name in "pq"], ["meta.p"], ["begin.p", "begin.q"]
)


def step(q: onnx.NodeProto) -> onnx.ModelProto:
    """p + q + 2 x."""
    nodes = [node("x", "x", "twice"), node("carry.p", "carry.q", "twice", "next.p"), q]
    return graph(nodes, ["carry.p", "carry.q", "x"], ["next.p", "next.q"])


@pytest.mark.parametrize(
    ("q", "expected", "carried"),
    [
        (helper.make_node("Identity", ["carry.q"], ["next.q"]), 1 + 3 * (1 + 4), ["p"]),  # unchanged
        (helper.make_node("Identity", ["twice"], ["next.q"]), (1 + 1 + 4) + 2 * (4 + 4), ["p", "q"]),
        (node("carry.q", "carry.q", "next.q"), 1 + (1 + 2 + 4) + 3 * 4, ["p", "q"]),
    ],
)
def test_only_changing_entries_of_the_carry_are_loop_variables(
    q: onnx.NodeProto, expected: float, carried: list[str]
) -> None:
    model = loop_model(BEGIN, step(q), ["p", "q"], ["p", "q"])
    x, meta = np.full(2, 2, np.float32), {"p": np.ones(2, np.float32)}
    found = run(model.SerializeToString(), meta=meta, x=x, knob={"steps": np.array(3)})
    np.testing.assert_array_equal(found["state.p"], np.full(2, expected, np.float32))
    (loop,) = [n for n in model.graph.node if n.op_type == "Loop"]
    assert list(loop.output) == [f"final/{name}" for name in carried]


def test_different_operator_sets_raise() -> None:
    with pytest.raises(CompileError, match="export both with the same"):
        loop_model(graph([], [], [], opset=17), step(node("x", "next.q")), ["p", "q"], ["p"])
