"""Compile functions to the graphs `adapt`, `predict` and `update`, and check them; for one user or for many."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import onnx
import torch
from torch import Tensor

from tegu.compile.check import check_graph
from tegu.compile.functions import BEGIN, STEP, Functions
from tegu.compile.named_tensors import Named
from tegu.compile.rewrites.few_rows import choose_by_rows
from tegu.compile.tracing.loop import STEPS_INPUT, loop_model
from tegu.compile.tracing.naming import under_prefix, with_prefix
from tegu.compile.tracing.responsible import responsible_module
from tegu.compile.tracing.shared_step import shared_step
from tegu.compile.tracing.trace import GraphSource, check_source, trace
from tegu.core.bundle.file import GRAPHS
from tegu.core.errors import CompileError

__all__ = ["PREDICT_FEW", "Plan", "check_sizes", "compile_graphs"]

PREDICT_FEW = "predict few rows"
_FEW_ROWS = 2  # on the FEMNIST network PREDICT_FEW takes 0.6 of the time for 1 row, and as long for 2

_INPUTS = {  # by the name of what is traced
    "adapt": ("meta", "support", "knob", "noise"),
    BEGIN: ("meta", "support"),
    STEP: ("meta", "carry", "support", "knob", "noise"),
    "predict": ("meta", "state", "x"),
    PREDICT_FEW: ("meta", "state", "x"),
    "update": ("meta", "support", "query", "noise", "blocks", "clip"),
    "summed_update": ("meta", "support", "query", "noise"),
}


@dataclass(frozen=True)
class Plan:
    """What to compile, and what to check it against.

    Attributes:
        traced: the functions to trace, by name. PREDICT_FEW, if present, is "predict" for few rows.
        reference: the functions that the graphs must agree with, by graph.
        examples: inputs to trace with, by graph. No two graphs share a size of a dynamic axis.
        cases: inputs to check with. An axis is dynamic if its size in a case differs from that in the example.
        unadapted: inputs `knob.<name>` for no adaptation, to check `adapt` with.
        label: a prefix of the graphs' names in errors.
        step_identity: see `Iterated.step_identity`.
    """

    traced: Functions
    reference: Functions
    examples: Mapping[str, Named]
    cases: Sequence[Named]
    unadapted: Named
    label: str = ""
    step_identity: str = ""

    def __repr__(self) -> str:
        return f"Plan(traced={sorted(self.traced)}, cases={len(self.cases)}, label={self.label!r})"


def compile_graphs(plan: Plan, wanted: Collection[str] = GRAPHS) -> dict[str, bytes]:
    """Compile the graphs called `wanted`, and check each against torch.

    Returns:
        Serialised ONNX by graph.

    Raises:
        CompileError: a graph cannot be compiled, or disagrees with torch. The message names the module that is
            responsible, if it does not compile by itself.
    """
    try:
        return _compiled(plan, wanted)
    except CompileError as error:
        # A model without graphs over users runs user by user, so nobody has to change it.
        module = None if plan.label else _responsible(plan)
        if module is None:
            raise
        raise CompileError(f"{module}: {error}") from error


def check_sizes(plan: Plan, graph: str) -> None:
    """Check that the function of one graph, without gradients in it, works for any number of rows and users.

    Raises:
        CompileError: as `compile_graphs`.
    """
    name = f"{plan.label}{graph}"
    check_source(name, _source(plan, graph))


def _responsible(plan: Plan) -> str | None:
    rows = plan.examples["adapt"]["support.x"]  # the rows that are traced first
    return responsible_module(plan.reference["predict"], {**plan.examples["predict"], "x": rows})


def _compiled(plan: Plan, wanted: Collection[str]) -> dict[str, bytes]:
    pieces = [piece for graph in wanted for piece in _pieces_of(plan, graph)]
    compiled = _traced(plan, pieces)
    if BEGIN in compiled:
        compiled["adapt"] = _looped(plan, compiled[BEGIN], compiled[STEP])
    if PREDICT_FEW in compiled:
        compiled["predict"] = choose_by_rows(compiled[PREDICT_FEW], compiled["predict"], _FEW_ROWS)
    return {
        graph: check_graph(
            compiled[graph],
            plan.reference[graph],
            _adapt_cases(plan) if graph == "adapt" else plan.cases,
            f"{plan.label}{graph}",
        )
        for graph in wanted
    }


def _traced(plan: Plan, pieces: Sequence[str]) -> dict[str, onnx.ModelProto]:
    """A model for each piece. A step that no model takes part in is compiled by itself, and kept for other models."""
    own = [piece for piece in pieces if piece != STEP or not plan.step_identity]
    models = trace({f"{plan.label}{piece}": _source(plan, piece) for piece in own})
    compiled = {piece: models[f"{plan.label}{piece}"] for piece in own}
    if len(own) < len(pieces):
        compiled[STEP] = shared_step(f"{plan.label}{STEP}", _source(plan, STEP), plan.step_identity)
    return compiled


def _pieces_of(plan: Plan, graph: str) -> tuple[str, ...]:
    """Names of the functions to trace for a graph: its pieces if the plan has them, otherwise the whole."""
    pieces = {"adapt": (BEGIN, STEP), "predict": (PREDICT_FEW, "predict")}.get(graph, (graph,))
    return pieces if pieces[0] in plan.traced else (graph,)


def _adapt_cases(plan: Plan) -> list[Named]:
    """Inputs to check `adapt` with.

    A repeated step is checked with 0, 1, 2, ... steps. Any other `adapt` is checked with the `unadapted` knobs too.
    """
    if BEGIN in plan.traced:
        return [{**case, STEPS_INPUT: torch.tensor(steps)} for steps, case in enumerate(plan.cases)]
    return [*plan.cases, {**plan.cases[0], **plan.unadapted}]


def _source(plan: Plan, name: str) -> GraphSource:
    graph = name.split(maxsplit=1)[0]
    example, *cases = [
        _with_carry(plan, case) if name == STEP else case for case in (plan.examples[graph], *plan.cases)
    ]
    inputs = {key: value for key, value in example.items() if key.split(".", maxsplit=1)[0] in _INPUTS[name]}
    return GraphSource(
        plan.traced[name],
        inputs,
        {key: _dynamic(key, value, cases) for key, value in inputs.items()},
        [{key: cases[-1][key] for key in inputs}],
    )


def _with_carry(plan: Plan, inputs: Named) -> Named:
    return {**inputs, **with_prefix("carry", _carry(plan, inputs))}


def _carry(plan: Plan, inputs: Named) -> Named:
    return under_prefix("begin", plan.traced[BEGIN](inputs))


def _dynamic(key: str, value: Tensor, cases: Sequence[Named]) -> tuple[int, ...]:
    """The axes whose size differs in one of the cases."""
    return tuple(axis for axis, size in enumerate(value.shape) if any(case[key].shape[axis] != size for case in cases))


def _looped(plan: Plan, begin: onnx.ModelProto, step: onnx.ModelProto) -> onnx.ModelProto:
    example = plan.examples["adapt"]
    return loop_model(begin, step, list(_carry(plan, example)), list(under_prefix("state", example)))
