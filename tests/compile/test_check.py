"""The comparison of a graph with torch, tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor

from tegu.compile.check import check_graph
from tegu.compile.named_tensors import Named
from tegu.core.errors import CompileError

CASES = [{"x": torch.tensor([1.0, -2.0])}, {"x": torch.tensor([0.5])}]


def graph(node: str, **attributes: Any) -> onnx.ModelProto:
    """y = node(x), and z = x."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows"]) for name in "xyz"]
    nodes = [helper.make_node(node, ["x"], ["y"], **attributes), helper.make_node("Identity", ["x"], ["z"])]
    model = helper.make_model(
        helper.make_graph(nodes, "test", values[:1], values[1:]), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 8
    return model


def test_a_correct_graph_is_serialised() -> None:
    model = graph("Abs")
    data = check_graph(model, lambda case: {"y": case["x"].abs(), "z": case["x"]}, CASES, "adapt")
    assert data == model.SerializeToString()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            lambda x: {"y": x.abs() * 1.001, "z": x},
            r"the adapt graph disagrees with torch: y differs by 1\.0e-03 relative",
        ),
        (lambda x: {"y": x.abs(), "z": x + 3}, "z differs by"),
        (lambda x: {"y": x.abs() * torch.nan, "z": x}, "y differs by nan"),
        (lambda x: {"y": x.abs().sum(), "z": x}, r"adapt graph gives y of shape \(2,\): torch gives \(\)"),
    ],
)
def test_a_wrong_graph_raises(function: Callable[[Tensor], Named], message: str) -> None:
    with pytest.raises(CompileError, match=message):
        check_graph(graph("Abs"), lambda case: function(case["x"]), CASES, "adapt")


def test_every_case_is_checked() -> None:
    def right_for_two(case: Named) -> Named:
        return {"y": case["x"].abs() if len(case["x"]) == 2 else case["x"], "z": case["x"]}

    check_graph(graph("Abs"), right_for_two, CASES[:1], "adapt")
    with pytest.raises(CompileError, match="y differs by 2"):
        check_graph(graph("Abs"), right_for_two, [*CASES, {"x": torch.tensor([-3.0])}], "adapt", tolerance=0.5)


def test_errors_of_entries_near_zero_are_allowed() -> None:
    tiny = [{"x": torch.tensor([1e-8])}]
    check_graph(graph("Abs"), lambda case: {"y": 2 * case["x"], "z": case["x"]}, tiny, "adapt")


def test_a_graph_that_does_not_load_raises() -> None:
    with pytest.raises(CompileError, match=r"the adapt graph does not load in ONNX Runtime: .*Nonsense"):
        check_graph(graph("Nonsense"), lambda case: {}, CASES, "adapt")


def test_a_graph_that_does_not_run_raises() -> None:
    model = graph("Abs")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    with pytest.raises(CompileError, match=r"the adapt graph fails on inputs of shapes \{'x': \(1,\)\}"):
        check_graph(model, lambda case: {"y": case["x"].abs(), "z": case["x"]}, CASES, "adapt")


def inexact(case: Named) -> dict[str, Tensor]:
    """Absolute values with an error of 1e-3, unless computed in double precision."""
    rounding = 0 if case["x"].dtype == torch.float64 else 1e-3
    return {"y": case["x"].abs() * (1 + rounding), "z": case["x"]}


def test_a_difference_as_large_as_torchs_rounding_is_allowed() -> None:
    check_graph(graph("Abs"), inexact, CASES, "adapt")


def test_a_large_difference_raises_even_if_torch_rounds_as_much() -> None:
    def very_inexact(case: Named) -> Named:
        rounding = 0 if case["x"].dtype == torch.float64 else 5
        return {"y": 1.5 * case["x"].abs() + rounding, "z": case["x"]}

    with pytest.raises(CompileError, match=r"y differs by 3\.3e-01 relative \(limit 1e-02\)"):
        check_graph(graph("Abs"), very_inexact, CASES, "adapt")


def test_a_function_without_float64_gets_no_allowance_for_rounding() -> None:
    def float32_only(case: Named) -> Named:
        if case["x"].dtype != torch.float32:
            raise RuntimeError("expected float32")
        return inexact(case)

    with pytest.raises(CompileError, match=r"y differs by 1\.0e-03 relative \(limit 1e-04\)"):
        check_graph(graph("Abs"), float32_only, CASES, "adapt")
