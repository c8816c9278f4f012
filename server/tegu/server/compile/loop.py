"""One step of an `Iterated` -> an ONNX `Loop` whose trip count is an input."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import TensorProto, helper
from onnx.compose import add_prefix

from tegu.core.errors import CompileError

__all__ = ["loop_model"]

BEGIN, CARRY, NEXT, STEPS = "begin.", "carry.", "next.", "knob.steps"
_PREFIX = "start/"


def loop_model(
    begin: onnx.ModelProto, step: onnx.ModelProto, carry: Sequence[str], state: Sequence[str], prefix: str = "state."
) -> onnx.ModelProto:
    """`begin`, then `step` as often as the input `knob.steps` says, then the entries of the carry called `state`.

    Args:
        begin: gives `begin.<name>` for every name in `carry`.
        step: from `carry.<name>` and anything else to `next.<name>`.
        carry: names of what goes from step to step.
        state: those of them that are the result.
        prefix: of the outputs' names.

    Raises:
        CompileError: the two models were exported with different operator sets.
    """
    if [(o.domain, o.version) for o in begin.opset_import] != [(o.domain, o.version) for o in step.opset_import]:
        raise CompileError(
            f"begin has operator sets {begin.opset_import} and step {step.opset_import}: export both alike"
        )
    start = _renamed(begin, _PREFIX)
    loop = helper.make_node(
        "Loop",
        [STEPS, "", *(f"{_PREFIX}{BEGIN}{name}" for name in carry)],
        [f"final/{name}" for name in carry],
        name="steps",
        body=_body(step, carry),
    )
    finish = [helper.make_node("Identity", [f"final/{name}"], [f"{prefix}{name}"]) for name in state]
    types = {value.name: value.type for value in step.graph.output}
    graph = helper.make_graph(
        [*start.graph.node, loop, *finish],
        "adapt",
        _inputs(start, step),
        [helper.make_value_info(f"{prefix}{name}", types[f"{NEXT}{name}"]) for name in state],
        initializer=list(start.graph.initializer),
    )
    model = helper.make_model(graph, opset_imports=step.opset_import, ir_version=step.ir_version)
    onnx.checker.check_model(model)
    return model


def _renamed(model: onnx.ModelProto, prefix: str) -> onnx.ModelProto:
    """`model` with everything renamed but its inputs, so that it can share a graph with another."""
    return add_prefix(model, prefix, rename_inputs=False)


def _body(step: onnx.ModelProto, carry: Sequence[str]) -> onnx.GraphProto:
    """The step as a loop body; what is not carried is captured from the graph around it."""
    types = {value.name: value.type for value in step.graph.output}
    inputs = [
        helper.make_tensor_value_info("iteration", TensorProto.INT64, []),
        helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
        *(helper.make_value_info(f"{CARRY}{name}", types[f"{NEXT}{name}"]) for name in carry),
    ]
    return helper.make_graph(
        [helper.make_node("Identity", ["go_on"], ["still"]), *step.graph.node],
        "step",
        inputs,
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            *(value for name in carry for value in step.graph.output if value.name == f"{NEXT}{name}"),
        ],
        initializer=list(step.graph.initializer),
    )


def _inputs(begin: onnx.ModelProto, step: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    found = {value.name: value for value in [*begin.graph.input, *step.graph.input]}
    steps = helper.make_tensor_value_info(STEPS, TensorProto.INT64, [])
    return [*(value for name, value in found.items() if not name.startswith(CARRY)), steps]
