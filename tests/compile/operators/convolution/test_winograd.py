"""Winograd and im2col convolutions and their gradients, compared with torch in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import onnx
import pytest
import torch
from tests.compile.families import FAMILIES
from tests.compile.running import DeviceGraphsOf, run, start
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tegu.compile.operators.convolution import im2col, winograd
from tegu.compile.operators.decompositions import decomposition_table

TABLE = decomposition_table()
ATEN = torch.ops.aten
RNG = torch.Generator().manual_seed(0)
SHAPES = [(14, 14), (7, 7), (13, 9), (8, 17), (28, 5)]


def example(
    kernel: int, padding: int | str, rows: int, size: tuple[int, int], channels: int, filters: int
) -> tuple[list[Tensor], list[int], list[Tensor]]:
    """Random x, weight, bias and gradient by the output; the padding; torch's output and gradients by x and weight."""
    x = torch.randn(rows, channels, *size, generator=RNG, dtype=torch.float64).requires_grad_()
    layer = nn.Conv2d(channels, filters, kernel, padding=padding, dtype=torch.float64)
    output = layer(x)
    grad = torch.randn(output.shape, generator=RNG, dtype=torch.float64)
    expected = [output, *torch.autograd.grad(output, (x, layer.weight), grad)]
    edge = [padding if isinstance(padding, int) else kernel // 2] * 2
    assert layer.bias is not None
    return [t.detach() for t in (x, layer.weight, layer.bias, grad)], edge, [e.detach() for e in expected]


def by_winograd(tensors: Sequence[Tensor], padding: Sequence[int]) -> list[Tensor]:
    x, weight, bias, grad = tensors
    return [
        winograd.convolution(x, weight, bias, padding),
        winograd.input_gradient(grad, x, weight, padding),
        winograd.weight_gradient(grad, x, weight, padding),
    ]


def settings(padding: Sequence[int]) -> tuple[object, ...]:
    return [1, 1], padding, [1, 1], False, [0, 0], 1


@pytest.mark.parametrize("size", SHAPES, ids=str)
@pytest.mark.parametrize("rows", [0, 1, 5])
@pytest.mark.parametrize("padding", [0, 1, 2, "same"])
@pytest.mark.parametrize("kernel", [3, 5])
def test_output_and_gradients_equal_torch(kernel: int, padding: int | str, rows: int, size: tuple[int, int]) -> None:
    channels, filters = {0: (8, 8), 1: (3, 10), 5: (9, 8)}[rows]
    tensors, edge, expected = example(kernel, padding, rows, size, channels, filters)
    for found, right in zip(by_winograd(tensors, edge), expected, strict=True):
        torch.testing.assert_close(found, right, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("kernel", "size"), [(5, 14), (5, 8), (3, 14), (3, 28), (3, 8)])
def test_rounding_is_small_in_float32(kernel: int, size: int) -> None:
    tensors, edge, expected = example(kernel, "same", 8, (size, size), 32, 64)
    for found, right in zip(by_winograd([t.float() for t in tensors], edge), expected, strict=True):
        assert (found.double() - right).abs().max() < 5e-6 * right.abs().max()


@pytest.mark.parametrize("padding", [0, 2])
@pytest.mark.parametrize("rows", [0, 1, 5])
def test_the_decompositions_use_winograd_where_it_is_faster(rows: int, padding: int) -> None:
    (x, weight, bias, grad), edge, expected = example(5, padding, rows, (14, 18), 16, 24)
    assert winograd.is_faster(x.shape, weight.shape, edge)
    output = TABLE[ATEN.convolution.default](x, weight, bias, *settings(edge))
    gradients = TABLE[ATEN.convolution_backward.default](grad, x, weight, [24], *settings(edge), [True] * 3)
    found, right = [output, *gradients], [*expected, grad.sum([0, 2, 3])]
    for one, other in zip(found, right, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


KEPT = {
    "few channels in": (nn.Conv2d(4, 64, 5), 14),
    "few filters": (nn.Conv2d(64, 4, 5), 14),
    "1 x 1": (nn.Conv2d(64, 64, 1), 14),
    "even": (nn.Conv2d(64, 64, 4), 14),
    "not square": (nn.Conv2d(64, 64, (3, 5)), 14),
    "7 x 7": (nn.Conv2d(64, 64, 7), 14),
    "strided": (nn.Conv2d(64, 64, 5, stride=2), 14),
    "dilated": (nn.Conv2d(64, 64, 5, dilation=2), 14),
    "groups": (nn.Conv2d(64, 64, 5, groups=2), 14),
    "one output": (nn.Conv2d(64, 64, 5), 5),
    "large": (nn.Conv2d(16, 16, 3), 200),
}


@pytest.mark.parametrize("name", KEPT)
def test_other_convolutions_are_kept(name: str) -> None:
    layer, size = KEPT[name]
    x = torch.randn(1, layer.in_channels, size, size)
    options = (layer.stride, layer.padding, layer.dilation, False, [0, 0], layer.groups)
    assert TABLE[ATEN.convolution.default](x, layer.weight, layer.bias, *options) is NotImplemented


@pytest.mark.parametrize("rows", [0, 1, 5])
@pytest.mark.parametrize(("channels", "kernel"), [(1, (5, 5)), (3, (3, 3)), (2, (2, 5))], ids=str)
@pytest.mark.parametrize("padding", [(0, 0), (2, 1)], ids=str)
def test_im2col_for_few_channels(padding: tuple[int, int], channels: int, kernel: tuple[int, int], rows: int) -> None:
    x = torch.randn(rows, channels, 9, 12, generator=RNG, dtype=torch.float64)
    layer = nn.Conv2d(channels, 8, kernel, padding=padding, dtype=torch.float64)
    assert im2col.is_faster(x.shape, layer.weight.shape)
    assert layer.bias is not None
    output = layer(x)
    grad = torch.randn(output.shape, generator=RNG, dtype=torch.float64)
    (expected,) = torch.autograd.grad(output, layer.weight, grad)
    found = TABLE[ATEN.convolution.default](x, layer.weight, layer.bias, *settings(padding))
    torch.testing.assert_close(found, output)
    torch.testing.assert_close(
        TABLE[ATEN.convolution.default](x, layer.weight, None, *settings(padding)) + layer.bias[:, None, None], output
    )
    _, gradient, _ = TABLE[ATEN.convolution_backward.default](
        grad, x, layer.weight, None, *settings(padding), [False, True, False]
    )
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize(("kernel", "size"), [(5, 14), (5, 8), (3, 14), (3, 28)])
def test_winograd_takes_fewer_operations_than_sliding(kernel: int, size: int) -> None:
    (x, weight, bias, grad), edge, _ = example(kernel, "same", 20, (size, size), 32, 64)
    assert winograd.is_faster(x.shape, weight.shape, edge)
    counted = [
        flops(lambda: winograd.convolution(x, weight, bias, edge)),
        flops(lambda: winograd.input_gradient(grad, x, weight, edge)),
        flops(lambda: winograd.weight_gradient(grad, x, weight, edge)),
    ]
    by_sliding = flops(lambda: nn.functional.conv2d(x, weight, bias, padding=edge))
    assert max(counted) < 0.8 * by_sliding


def flops(function: Callable[[], Tensor]) -> int:
    """The floating-point operations of matrix products and convolutions, additions included."""
    product = torch.ops.tegu.product.default
    with FlopCounterMode(display=False, custom_mapping={product: count_product}) as counter:
        function()
    return int(counter.get_total_flops())


def count_product(a: torch.Size, b: torch.Size, *, out_shape: torch.Size, **options: object) -> int:
    return 2 * math.prod(out_shape) * a[-1]


@pytest.mark.parametrize("graph", ["adapt", "update"])
def test_compiled_steps_have_no_convolution_or_pooling_operators(graph: str, device_graphs: DeviceGraphsOf) -> None:
    model = onnx.load_from_string(device_graphs("conv_filtered_maxpool")[graph])
    nodes = [*model.graph.node, *(inner for node in model.graph.node for a in node.attribute for inner in a.g.node)]
    assert not {"Conv", "ConvTranspose", "MaxPool"} & {node.op_type for node in nodes}


@pytest.mark.parametrize("name", ["conv_filtered", "conv_filtered_maxpool"])
def test_predict_accepts_no_rows(name: str, device_graphs: DeviceGraphsOf) -> None:
    learner = FAMILIES[name].learner()
    x = np.zeros((0, *learner.spec.x.shape), np.float32)
    output = run(device_graphs(name)["predict"], meta=start(learner), state=start(learner), x=x)["output"]
    assert output.shape == (0, 3)
