"""Repeat the step of an `Iterated` with an ONNX `Loop` whose trip count is an input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx
from onnx import TensorProto, helper

from tegu.compile.rewrites.prefix import with_prefixed_names
from tegu.compile.tracing.hoist import hoist_invariant
from tegu.core.errors import CompileError

__all__ = ["STEPS_INPUT", "loop_model"]

STEPS_INPUT = "knob.steps"
_BEGIN, _CARRY, _NEXT = "begin.", "carry.", "next."
_PREFIX = "start/"  # of the nodes and values of `begin`


def loop_model(
    begin: onnx.ModelProto, step: onnx.ModelProto, carry: Sequence[str], state: Sequence[str], prefix: str = "state."
) -> onnx.ModelProto:
    """A model that runs `begin`, then `step` for `knob.steps` times, and gives the entries of the carry in `state`.

    What is the same in every step is computed once, before the first.

    Args:
        begin: gives `begin.<name>` for every name in `carry`.
        step: maps `carry.<name>`, and any other inputs, to `next.<name>`.
        carry: names of the values that one step hands to the next.
        state: names of the values in the carry that are the result.
        prefix: the prefix of the outputs' names.

    Raises:
        CompileError: the two models were exported with different operator sets.
    """
    if [(o.domain, o.version) for o in begin.opset_import] != [(o.domain, o.version) for o in step.opset_import]:
        raise CompileError(
            f"begin has operator sets {begin.opset_import} and step has {step.opset_import}: export both with the same"
        )
    start = with_prefixed_names(begin, _PREFIX)
    first = {name: f"{_PREFIX}{_BEGIN}{name}" for name in carry}
    types = {value.name.removeprefix(_NEXT): value.type for value in step.graph.output}
    changing = {name: types[name] for name in carry if not _is_unchanged(step, name)}
    before, within = hoist_invariant(
        step.graph.node, {f"{_CARRY}{n}" for n in changing}, {f"{_NEXT}{n}" for n in changing}
    )
    final = {**first, **{name: f"final/{name}" for name in changing}}
    loop = helper.make_node(
        "Loop",
        [STEPS_INPUT, "", *(first[name] for name in changing)],
        [final[name] for name in changing],
        name="steps",
        body=_body(within, changing),
    )
    fixed = [helper.make_node("Identity", [first[n]], [f"{_CARRY}{n}"]) for n in carry if n not in changing]
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


def _is_unchanged(step: onnx.ModelProto, name: str) -> bool:
    """Whether the step hands this entry of the carry on unchanged."""
    identity = ("Identity", [f"{_CARRY}{name}"], [f"{_NEXT}{name}"])
    return any((node.op_type, list(node.input), list(node.output)) == identity for node in step.graph.node)


def _body(nodes: Sequence[onnx.NodeProto], carry: Mapping[str, onnx.TypeProto]) -> onnx.GraphProto:
    """A loop body of nodes that map `carry.<name>` to `next.<name>`. It reads other values from the graph around it."""
    return helper.make_graph(
        [helper.make_node("Identity", ["go_on"], ["still"]), *nodes],
        "step",
        [
            helper.make_tensor_value_info("iteration", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            *(helper.make_value_info(f"{_CARRY}{name}", kind) for name, kind in carry.items()),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            *(helper.make_value_info(f"{_NEXT}{name}", kind) for name, kind in carry.items()),
        ],
    )


def _inputs(begin: onnx.ModelProto, step: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    found = {value.name: value for value in [*begin.graph.input, *step.graph.input]}
    steps = helper.make_tensor_value_info(STEPS_INPUT, TensorProto.INT64, [])
    return [*(value for name, value in found.items() if not name.startswith(_CARRY)), steps]
