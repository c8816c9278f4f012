"""Functions -> the graphs `adapt`, `predict` and `update`, checked; for one user or for many."""

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
from tegu.compile.tracing.loop import STEPS as STEPS_INPUT
from tegu.compile.tracing.loop import loop_model
from tegu.compile.tracing.naming import named, pick
from tegu.compile.tracing.trace import Part, trace
from tegu.core.bundle.file import GRAPHS

__all__ = ["PREDICT_FEW", "Plan", "compile_graphs"]

PREDICT_FEW = "predict few rows"
_FEW_ROWS = 2  # measured on the FEMNIST network: 2 rows take as long by either graph, 1 row 0.6 of the time by this one

_INPUTS = {
    "adapt": ("meta", "support", "knob", "noise"),
    BEGIN: ("meta", "support"),
    STEP: ("meta", "carry", "support", "knob", "noise"),
    "predict": ("meta", "state", "x"),
    PREDICT_FEW: ("meta", "state", "x"),
    "update": ("meta", "support", "query", "noise", "blocks", "clip"),
    "together": ("meta", "support", "query", "noise"),
}


@dataclass(frozen=True)
class Plan:
    """What to compile, and how to know that it came out right.

    Attributes:
        traced: the functions to trace; PREDICT_FEW, where there is one, is "predict" for few rows.
        reference: those that the graphs must agree with.
        examples: by graph, inputs to trace with; no two graphs share a size of a dynamic axis.
        cases: inputs to check with; axes whose size differs from the examples' are dynamic.
        unadapted: inputs `knob.<name>` by which nobody adapts, to check `adapt` with.
        label: goes before the graphs' names in errors.
    """

    traced: Functions
    reference: Functions
    examples: Mapping[str, Named]
    cases: Sequence[Named]
    unadapted: Named
    label: str = ""


def compile_graphs(plan: Plan, wanted: Collection[str] = GRAPHS) -> dict[str, bytes]:
    """The graphs called `wanted`.

    Raises:
        CompileError: they cannot be compiled, or one disagrees with torch.
    """
    parts = [part for graph in wanted for part in _parts_of(plan, graph)]
    models = trace({f"{plan.label}{part}": _part(plan, part) for part in parts})
    compiled = {part: models[f"{plan.label}{part}"] for part in parts}
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


def _parts_of(plan: Plan, graph: str) -> tuple[str, ...]:
    """The names of what is traced for a graph: its parts where the plan has them, else the whole."""
    parts = {"adapt": (BEGIN, STEP), "predict": (PREDICT_FEW, "predict")}.get(graph, (graph,))
    return parts if parts[0] in plan.traced else (graph,)


def _adapt_cases(plan: Plan) -> list[Named]:
    """Inputs to check `adapt` with: 0, 1, 2, ... steps check a loop's trip count; others also include `unadapted`."""
    if BEGIN in plan.traced:
        return [{**case, STEPS_INPUT: torch.tensor(steps)} for steps, case in enumerate(plan.cases)]
    return [*plan.cases, {**plan.cases[0], **plan.unadapted}]


def _part(plan: Plan, name: str) -> Part:
    graph = name.split(maxsplit=1)[0]
    example, *cases = [
        _with_carry(plan, case) if name == STEP else case for case in (plan.examples[graph], *plan.cases)
    ]
    inputs = {key: value for key, value in example.items() if key.split(".", maxsplit=1)[0] in _INPUTS[name]}
    return Part(plan.traced[name], inputs, {key: _dynamic(key, value, cases) for key, value in inputs.items()})


def _with_carry(plan: Plan, inputs: Named) -> Named:
    return {**inputs, **named("carry", _carry(plan, inputs))}


def _carry(plan: Plan, inputs: Named) -> Named:
    return pick("begin", plan.traced[BEGIN](inputs))


def _dynamic(key: str, value: Tensor, cases: Sequence[Named]) -> tuple[int, ...]:
    """The axes of another size in one of the cases."""
    return tuple(axis for axis, size in enumerate(value.shape) if any(case[key].shape[axis] != size for case in cases))


def _looped(plan: Plan, begin: onnx.ModelProto, step: onnx.ModelProto) -> onnx.ModelProto:
    example = plan.examples["adapt"]
    return loop_model(begin, step, list(_carry(plan, example)), list(pick("state", example)))
