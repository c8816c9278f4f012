"""The decompositions, compared with torch's own operators and gradients."""

from __future__ import annotations

from typing import Any

import onnx
import pytest
import torch
from torch import nn

from tegu.compile import compile_cohort, compile_learner
from tegu.compile.operators import pooling
from tegu.compile.operators.decompositions import decomposition_table
from tegu.core.data.spec import Spec
from tegu.learners import reptile

TABLE = decomposition_table()
ATEN = torch.ops.aten
RNG = torch.Generator().manual_seed(0)

CONVOLUTIONS = [
    {},
    {"stride": 2},
    {"stride": 3, "padding": 2},
    {"padding": 1, "dilation": 2},
    {"stride": 2, "padding": 1, "dilation": 2},
    {"groups": 2},
    {"groups": 4, "stride": 2, "padding": 1},
]


@pytest.mark.parametrize("options", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("size", [9, 10, 11])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_gradients_of_convolutions(dims: int, size: int, options: dict[str, Any]) -> None:
    layer = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1](4, 8, 3, **options)
    x = torch.randn(2, 4, *[size, size - 2, 7][:dims], generator=RNG).requires_grad_()
    output = layer(x)
    grad = torch.randn(output.shape, generator=RNG)
    assert layer.bias is not None
    expected = torch.autograd.grad(output, (x, layer.weight, layer.bias), grad)
    settings = (layer.stride, layer.padding, layer.dilation, False, [0] * dims, layer.groups)
    found = TABLE[ATEN.convolution_backward.default](grad, x, layer.weight, [8], *settings, [True] * 3)
    for gradient, right in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, right, rtol=1e-4, atol=1e-4)


def test_only_the_gradients_in_the_output_mask_are_computed() -> None:
    x, weight, grad = torch.randn(1, 1, 4, 4), torch.randn(1, 1, 3, 3), torch.randn(1, 1, 2, 2)
    settings = ([1, 1], [0, 0], [1, 1], False, [0, 0], 1)
    found = TABLE[ATEN.convolution_backward.default](grad, x, weight, None, *settings, [False, True, False])
    assert [gradient is None for gradient in found] == [True, False, True]


POOLS = [
    nn.MaxPool2d(2),
    nn.MaxPool2d(3, 2, 1),
    nn.MaxPool2d(3, 1),
    nn.MaxPool2d(2, dilation=2),
    nn.AvgPool2d(2),
    nn.AvgPool2d(3, 2, 1),
    nn.AvgPool2d((2, 3), (3, 1), (1, 0)),
    nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    nn.AvgPool2d(3, divisor_override=5),
]


@pytest.mark.parametrize("pool", POOLS, ids=str)
def test_gradients_of_pooling(pool: Any) -> None:
    x = torch.randn(2, 3, 9, 8, generator=RNG).requires_grad_()
    output = pool(x)
    grad = torch.randn(output.shape, generator=RNG)
    (expected,) = torch.autograd.grad(output, x, grad)
    stride = [pool.stride] * 2 if isinstance(pool.stride, int) else list(pool.stride)
    if isinstance(pool, nn.MaxPool2d):
        settings = ([pool.kernel_size] * 2, stride, [pool.padding] * 2, [pool.dilation] * 2, False)
        _, indices = ATEN.max_pool2d_with_indices(x, *settings)
        found = TABLE[ATEN.max_pool2d_with_indices_backward.default](grad, x, *settings, indices)
    else:
        kernel = [pool.kernel_size] if isinstance(pool.kernel_size, int) else pool.kernel_size
        edge = [pool.padding] if isinstance(pool.padding, int) else pool.padding
        options = (False, pool.count_include_pad, pool.divisor_override)
        found = TABLE[ATEN.avg_pool2d_backward.default](grad, x, kernel, stride, edge, *options)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kernel", [(2, 2), (3, 2), (1, 3), (9, 8), (1, 1), (5, 5)], ids=str)
@pytest.mark.parametrize("shape", [(2, 3, 9, 8), (3, 9, 8)], ids=str)
def test_the_first_of_equal_maxima_gets_the_gradient(kernel: tuple[int, int], shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, generator=RNG).round().relu().requires_grad_()
    output, indices = nn.functional.max_pool2d(x, kernel, return_indices=True)
    grad = torch.randn(output.shape, generator=RNG)
    (expected,) = torch.autograd.grad(output, x, grad)
    settings = (kernel, kernel, (0, 0), (1, 1), False)
    backward = TABLE[ATEN.max_pool2d_with_indices_backward.default]
    # Adjacent windows need no indices, so wrong ones make no difference.
    assert torch.equal(backward(grad, x, *settings, torch.full_like(indices, -1)), expected)


@pytest.mark.parametrize("kernel", [(2, 2), (3, 2), (9, 8), (1, 1)], ids=str)
def test_max_pooling_of_channels_last_inputs(kernel: tuple[int, int]) -> None:
    x = torch.randn(2, 3, 9, 8, generator=RNG).round().contiguous(memory_format=torch.channels_last)
    settings = (kernel, kernel, (0, 0), (1, 1), False)
    found = TABLE[ATEN.max_pool2d_with_indices.default](x, *settings)
    for tensor, right in zip(found, ATEN.max_pool2d_with_indices(x, *settings), strict=True):
        assert torch.equal(tensor, right)


@pytest.mark.parametrize("settings", [((2, 2), (1, 1)), ((3, 3), (3, 3), (1, 1)), ((2, 2), (2, 2), (0, 0), (2, 2))])
def test_other_max_pooling_is_kept(settings: tuple[tuple[int, int], ...]) -> None:
    x = torch.randn(2, 3, 9, 8).contiguous(memory_format=torch.channels_last)
    assert TABLE[ATEN.max_pool2d_with_indices.default](x, *settings) is NotImplemented
    assert TABLE[ATEN.max_pool2d_with_indices.default](x.contiguous(), (2, 2)) is NotImplemented


@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_gradient_of_relu(threshold: float) -> None:
    x = torch.randn(4, 5, generator=RNG).mul(2).round().div(2).requires_grad_()
    output, grad = nn.functional.threshold(x, threshold, 0.0), torch.randn(4, 5, generator=RNG)
    (expected,) = torch.autograd.grad(output, x, grad)
    torch.testing.assert_close(TABLE[ATEN.threshold_backward.default](grad, x, threshold), expected)


@pytest.mark.parametrize("output", [(3, 4), (1, 2), (9, 8)])
def test_adaptive_pooling(output: Any) -> None:
    x = torch.randn(2, 3, 9, 8, generator=RNG).requires_grad_()
    right = nn.AdaptiveAvgPool2d(output)(x)
    torch.testing.assert_close(pooling.adaptive_avg_pool2d(x, output), right)
    (expected,) = torch.autograd.grad(right.square().sum(), x)
    torch.testing.assert_close(pooling.adaptive_avg_pool2d_backward(2 * right, x), expected)


@pytest.mark.parametrize("dims", [[1], [0, -1], [1, 2, 3], [0, 1]])
def test_squeezing_several_axes(dims: list[int]) -> None:
    x = torch.randn(3, 1, 2, 1)
    assert TABLE[ATEN.squeeze.dims](x, dims).shape == x.squeeze(dims).shape


def test_squares_become_products() -> None:
    x = torch.randn(5, generator=RNG)
    assert torch.equal(TABLE[ATEN.pow.Tensor_Scalar](x, 2), x * x)
    assert torch.equal(TABLE[ATEN.pow.Tensor_Scalar](x, 1), x)  # the gradient of a square has a first power
    assert TABLE[ATEN.pow.Tensor_Scalar](x, 3) is NotImplemented
    learner = reptile(nn.Linear(2, 1), Spec.regression((2,)), init="fresh")
    for graph in (compile_cohort(learner).update, compile_learner(learner)["adapt"]):
        assert "Pow" not in {node.op_type for node in onnx.load_from_string(graph).graph.node}
