"""One step of an `Iterated` -> an ONNX `Loop` whose trip count is an input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx
from onnx import TensorProto, helper
from onnx.compose import add_prefix

from tegu.compile.tracing.hoist import hoist
from tegu.core.errors import CompileError

__all__ = ["loop_model"]

BEGIN, CARRY, NEXT, STEPS = "begin.", "carry.", "next.", "knob.steps"
_PREFIX = "start/"


def loop_model(
    begin: onnx.ModelProto, step: onnx.ModelProto, carry: Sequence[str], state: Sequence[str], prefix: str = "state."
) -> onnx.ModelProto:
    """`begin`, then `step` as often as the input `knob.steps` says, then the entries of the carry called `state`.

    What every step would compute alike is computed once, before the first.

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
    start = add_prefix(begin, _PREFIX, rename_inputs=False)
    begun = {name: f"{_PREFIX}{BEGIN}{name}" for name in carry}
    types = {value.name.removeprefix(NEXT): value.type for value in step.graph.output}
    moving = {name: types[name] for name in carry if not _hands_on(step, name)}
    before, within = hoist(step.graph.node, {f"{CARRY}{n}" for n in moving}, {f"{NEXT}{n}" for n in moving})
    final = {**begun, **{name: f"final/{name}" for name in moving}}
    loop = helper.make_node(
        "Loop",
        [STEPS, "", *(begun[name] for name in moving)],
        [final[name] for name in moving],
        name="steps",
        body=_body(within, moving),
    )
    fixed = [helper.make_node("Identity", [begun[n]], [f"{CARRY}{n}"]) for n in carry if n not in moving]
    finish = [helper.make_node("Identity", [final[name]], [f"{prefix}{name}"]) for name in state]
    graph = helper.make_graph(
        [*start.graph.node, *fixed, *before, loop, *finish],
        "adapt",
        _inputs(start, step),
        [helper.make_value_info(f"{prefix}{name}", types[name]) for name in state],
        initializer=[*start.graph.initializer, *step.graph.initializer],
    )
    model = helper.make_model(graph, opset_imports=step.opset_import, ir_version=step.ir_version)
    onnx.checker.check_model(model)
    return model


def _hands_on(step: onnx.ModelProto, name: str) -> bool:
    """Whether the step gives this entry of the carry as it got it."""
    ends = ("Identity", [f"{CARRY}{name}"], [f"{NEXT}{name}"])
    return any((node.op_type, list(node.input), list(node.output)) == ends for node in step.graph.node)


def _body(nodes: Sequence[onnx.NodeProto], carry: Mapping[str, onnx.TypeProto]) -> onnx.GraphProto:
    """Nodes that make `next.<name>` of `carry.<name>` as a loop body; the rest is captured from the graph around it."""
    return helper.make_graph(
        [helper.make_node("Identity", ["go_on"], ["still"]), *nodes],
        "step",
        [
            helper.make_tensor_value_info("iteration", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            *(helper.make_value_info(f"{CARRY}{name}", kind) for name, kind in carry.items()),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            *(helper.make_value_info(f"{NEXT}{name}", kind) for name, kind in carry.items()),
        ],
    )


def _inputs(begin: onnx.ModelProto, step: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    found = {value.name: value for value in [*begin.graph.input, *step.graph.input]}
    steps = helper.make_tensor_value_info(STEPS, TensorProto.INT64, [])
    return [*(value for name, value in found.items() if not name.startswith(CARRY)), steps]
