"""The comparison of a graph with torch, tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from tegu.compile import compile_learner
from tegu.compile.check import check_graph
from tegu.compile.device import device_plan
from tegu.compile.named_tensors import Named
from tegu.core.data.spec import Spec
from tegu.core.errors import CompileError
from tegu.learners import residual_correction
from tegu.learners.learner import Learner

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
        (lambda x: {"y": x.abs() * torch.nan, "z": x}, "y in the adapt graph is nan in torch itself.*avoid roots"),
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


def test_differences_of_numbers_near_zero_may_be_rounding() -> None:
    tiny = [{"x": torch.tensor([1e-8])}]
    check_graph(graph("Abs"), lambda case: {"y": 2 * case["x"], "z": case["x"]}, tiny, "adapt")


def test_a_small_tensor_is_checked_as_closely_as_a_large_one() -> None:
    small = [{"x": torch.tensor([3.3e-4, -2.1e-4])}]
    with pytest.raises(CompileError, match=r"y differs by 1\.0e-03 relative"):
        check_graph(graph("Abs"), lambda case: {"y": 1.001 * case["x"].abs(), "z": case["x"]}, small, "adapt")


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


def squared_less_constant() -> onnx.ModelProto:
    """y = x * x - 2.89, which cancels near 1.7, and z = x."""
    model = graph("Abs")
    del model.graph.node[0]
    constant = helper.make_node("Constant", [], ["c"], value_float=2.89)
    square, difference = helper.make_node("Mul", ["x", "x"], ["xx"]), helper.make_node("Sub", ["xx", "c"], ["y"])
    model.graph.node.extend([constant, square, difference])
    return model


def test_rounding_that_torch_avoids_is_allowed_where_the_last_digit_of_the_input_matters_as_much() -> None:
    near = {"x": torch.linspace(1.69998, 1.70002, 10)}

    def factored(case: Named) -> Named:
        return {"y": (case["x"] - 1.7) * (case["x"] + 1.7), "z": case["x"]}

    difference = factored(near)["y"] - (near["x"] * near["x"] - 2.89)
    assert float(difference.abs().max() / factored(near)["y"].abs().max()) > 1e-4
    check_graph(squared_less_constant(), factored, [near], "adapt")
    with pytest.raises(CompileError, match="y differs by"):  # an error of a half is still found
        check_graph(squared_less_constant(), lambda c: {**factored(c), "y": 1.5 * factored(c)["y"]}, [near], "adapt")


def test_a_tie_that_the_graph_decides_otherwise_is_allowed_near_the_tie_alone() -> None:
    """The graph's threshold is 8 units of the last digit above torch's: far beyond an input's own rounding."""
    unit, model = 2.0**-23, graph("Abs")
    del model.graph.node[0]
    for name, value in (("threshold", 1 + 8 * unit), ("high", 1.0), ("low", 0.995)):
        model.graph.initializer.append(helper.make_tensor(name, TensorProto.FLOAT, [], [value]))
    model.graph.node.append(helper.make_node("Greater", ["x", "threshold"], ["above"]))
    model.graph.node.append(helper.make_node("Where", ["above", "high", "low"], ["y"]))

    def stepped(case: Named) -> Named:
        y = torch.where(case["x"] > 1, 1.0, 0.995)
        return {"y": y.to(case["x"].dtype), "z": case["x"]}

    check_graph(model, stepped, [{"x": torch.tensor([1 + 4 * unit, 2.0])}], "update")
    with pytest.raises(CompileError, match="y differs by 5"):
        check_graph(
            model, lambda case: {"y": 0.995 * stepped(case)["y"], "z": case["x"]}, [{"x": CASES[0]["x"] + 4}], "update"
        )


def test_whole_numbers_are_not_changed_to_measure_rounding() -> None:
    cases = [{"x": torch.tensor([3.0, -7.0, 0.25])}]
    seen: list[Tensor] = []

    def function(case: Named) -> Named:
        seen.append(case["x"])
        return {"y": case["x"].abs() * 1.001, "z": case["x"]}

    with pytest.raises(CompileError, match="y differs by"):
        check_graph(graph("Abs"), function, cases, "adapt")
    assert all(torch.equal(x[:2].double(), torch.tensor([3.0, -7.0]).double()) for x in seen)
    assert len({float(x[2]) for x in seen}) > 1


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


@pytest.fixture(scope="module")
def pooled() -> tuple[Learner, dict[str, bytes]]:
    """A network whose leave-one-out improvement is a small difference of large sums, and its graphs."""
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Flatten(), nn.Linear(512, 3)
    learner = residual_correction(nn.Sequential(*layers), Spec.classification((3, 16, 16), 3), steps=1)
    return learner, compile_learner(learner)


def test_a_right_graph_of_an_ill_conditioned_quantity_is_accepted(pooled: tuple[Learner, dict[str, bytes]]) -> None:
    assert set(pooled[1]) == {"adapt", "predict", "update"}


@pytest.mark.parametrize("entry", ["0.weight", "0.bias", "4.weight", "4.bias"])
def test_an_error_of_a_thousandth_in_one_gradient_is_found(
    pooled: tuple[Learner, dict[str, bytes]], entry: str
) -> None:
    learner, graphs = pooled
    plan, wrong = device_plan(learner), f"update.{entry}"

    def mutated(case: Named) -> Named:
        return {name: value * (1.001 if name == wrong else 1) for name, value in plan.reference["update"](case).items()}

    model = onnx.load_from_string(graphs["update"])
    check_graph(model, plan.reference["update"], plan.cases, "update")
    with pytest.raises(CompileError, match=f"{wrong} differs by 1.0e-03"):
        check_graph(model, mutated, plan.cases, "update")
