"""Sliding convolutions for predictions of few rows: when they are chosen, and their results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from tests.compile.families import FAMILIES
from tests.compile.running import DeviceGraphsOf, operators_run, rows, run, start, tensors
from torch import Tensor, nn

from tegu.compile.named_tensors import Named
from tegu.compile.operators.convolution.sliding import has_replaced_convolutions, sliding
from tegu.compile.rewrites.few_rows import choose_by_rows
from tegu.compile.tracing.trace import GraphSource, trace


def multiply_by(factor: str) -> onnx.ModelProto:
    """x `[rows, 2]` -> output, its product with a number."""
    return onnx.parser.parse_model(
        f"""<ir_version: 9, opset_import: ["" : 18]> graph (float[rows,2] x) => (float[rows,2] output)
        <float factor = {{{factor}}}> {{ output = Mul(x, factor) }}"""
    )


@pytest.mark.parametrize(("count", "factor"), [(0, 3.0), (1, 3.0), (2, 3.0), (3, 5.0), (40, 5.0)])
def test_the_number_of_rows_chooses_the_graph(count: int, factor: float) -> None:
    model = choose_by_rows(multiply_by("3.0"), multiply_by("5.0"), 2)
    x = np.random.default_rng(0).standard_normal((count, 2)).astype(np.float32)
    np.testing.assert_array_equal(run(model.SerializeToString(), x=x)["output"], factor * x)


def branches(graph: bytes) -> dict[str, list[str]]:
    """The operators of each branch of the graph's If, or nothing if it has no If."""
    nodes = onnx.load_from_string(graph).graph.node
    return {
        branch.name: [node.op_type for node in branch.g.node]
        for node in nodes
        if node.op_type == "If"
        for branch in node.attribute
    }


@pytest.mark.parametrize(("name", "convolutions"), [("conv_filtered", 3), ("conv_filtered_maxpool", 2)])
def test_few_rows_are_predicted_by_sliding_convolutions(
    name: str, convolutions: int, device_graphs: DeviceGraphsOf
) -> None:
    found = branches(device_graphs(name)["predict"])
    assert found["then_branch"].count("Conv") == convolutions
    assert "MatMul" not in found["then_branch"]  # the transforms of the other forms are MatMuls
    assert "MatMul" in found["else_branch"]


@pytest.mark.parametrize(("count", "slides"), [(1, True), (20, False)])
def test_one_row_runs_the_sliding_graph_and_many_rows_the_other(
    count: int, slides: bool, device_graphs: DeviceGraphsOf, tmp_path: Path
) -> None:
    """By what is run: the branches alone do not show which one a device's most frequent call takes."""
    learner = FAMILIES["conv_filtered"].learner()
    meta, x = start(learner), rows(learner.spec, count).x
    found = operators_run(device_graphs("conv_filtered")["predict"], tmp_path, meta=meta, state=meta, x=x)
    assert ("MatMul" not in found) == slides, found  # only the other forms transform by MatMuls


@pytest.mark.parametrize("name", ["relu", "conv_dilated", "conv1d_strided"])
def test_a_model_without_replaced_convolutions_has_one_graph(name: str, device_graphs: DeviceGraphsOf) -> None:
    assert not branches(device_graphs(name)["predict"])


@pytest.mark.parametrize("count", [0, 1, 2, 3])
@pytest.mark.parametrize("name", ["conv_filtered", "conv_filtered_maxpool"])
def test_predictions_equal_torch(name: str, count: int, device_graphs: DeviceGraphsOf) -> None:
    learner = FAMILIES[name].learner()
    meta, x = start(learner), rows(learner.spec, count).x
    expected = learner.predict(tensors(meta), tensors(meta), torch.from_numpy(x)).detach().numpy()
    found = run(device_graphs(name)["predict"], meta=meta, state=meta, x=x)["output"]
    assert found.shape == (count, 3)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=2e-5)


REPLACED = {
    "same": nn.Conv2d(2, 8, 3, padding="same"),
    "valid": nn.Conv2d(2, 8, 3, padding="valid"),
    "without a bias": nn.Conv2d(2, 8, 3, bias=False),
    "another padding for each axis": nn.Conv2d(2, 8, 3, padding=(2, 1)),
    "many channels": nn.Conv2d(32, 64, 3, padding=1),
}
NOT_REPLACED = {
    "other paddings for the two ends": nn.Conv2d(2, 8, (2, 3), padding="same"),
    "strided": nn.Conv2d(2, 8, 3, stride=2),
    "reflected": nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect"),
    "wide windows": nn.Conv2d(4, 8, (2, 9)),
}


def as_function(layer: nn.Conv2d) -> Callable[[Named], dict[str, Tensor]]:
    return lambda values: {"y": layer(values["x"])}


@pytest.mark.parametrize("name", REPLACED)
def test_sliding_keeps_a_convolution_as_one_operator(name: str) -> None:
    layer = REPLACED[name].requires_grad_(False)
    x = torch.randn(7, layer.in_channels, 14, 14, generator=torch.Generator().manual_seed(0))
    assert has_replaced_convolutions(as_function(layer), {"x": x})
    model = trace({"graph": GraphSource(sliding(as_function(layer)), {"x": x}, {"x": (0,)})})["graph"]
    assert "Conv" in {node.op_type for node in model.graph.node}
    assert not {node.op_type for node in model.graph.node} & {"MatMul", "Gemm"}
    found = run(model.SerializeToString(), x=x[:1].numpy())["y"]
    np.testing.assert_allclose(found, layer(x[:1]).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", REPLACED)
def test_gradients_of_sliding_convolutions_equal_torch(name: str) -> None:
    layer = REPLACED[name].requires_grad_(False)
    x = torch.randn(3, layer.in_channels, 14, 14, generator=torch.Generator().manual_seed(0))
    parameters = {"x": x, **dict(layer.named_parameters())}

    def loss(values: Named) -> Tensor:
        output = torch.func.functional_call(layer, {n: v for n, v in values.items() if n != "x"}, values["x"])
        total: Tensor = output.square().sum()
        return total

    expected = torch.func.grad(loss)(parameters)
    found = sliding(torch.func.grad(loss))(parameters)
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-2)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize("name", NOT_REPLACED)
def test_convolutions_that_are_not_replaced(name: str) -> None:
    layer = NOT_REPLACED[name].requires_grad_(False)
    assert not has_replaced_convolutions(as_function(layer), {"x": torch.randn(7, layer.in_channels, 14, 14)})
