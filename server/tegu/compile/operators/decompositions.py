"""Operators that torch.onnx cannot translate, written in terms of those that it can."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor
from torch._decomp import core_aten_decompositions

from tegu.compile.operators import pooling
from tegu.compile.operators.convolution import im2col as unfolded
from tegu.compile.operators.convolution import winograd
from tegu.core.errors import CompileError

__all__ = ["decomposition_table", "replaces_convolution", "sliding_gradients"]

_CONVOLUTIONS = (F.conv1d, F.conv2d, F.conv3d)
_TRANSPOSED = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)


def decomposition_table() -> dict[Any, Callable[..., Any]]:
    """Torch's core table and the entries of this file."""
    aten = torch.ops.aten
    return {
        **_core(),
        aten.convolution.default: _convolution,
        aten.convolution_backward.default: _convolution_backward,
        aten.max_pool2d_with_indices.default: pooling.max_pool2d,
        aten.max_pool2d_with_indices_backward.default: pooling.max_pool2d_backward,
        aten.avg_pool2d_backward.default: pooling.avg_pool2d_backward,
        aten._adaptive_avg_pool2d.default: pooling.adaptive_avg_pool2d,
        aten._adaptive_avg_pool2d_backward.default: pooling.adaptive_avg_pool2d_backward,
        aten.pow.Tensor_Scalar: _power,
        aten.squeeze.dims: _squeeze,
        aten.threshold_backward.default: _threshold_backward,
    }


@functools.cache
def _core() -> dict[Any, Callable[..., Any]]:
    table = dict[Any, Callable[..., Any]](core_aten_decompositions())
    table.pop(torch.ops.aten.squeeze.dim, None)  # it would become squeeze.dims, which has no translation
    return table


def _convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Any:
    del output_padding
    if not transposed and replaces_convolution(x, weight, stride, padding, dilation, groups):
        if winograd.pays(x.shape, weight.shape, padding):
            return winograd.convolution(x, weight, bias, padding)
        return unfolded.convolution(x, weight, bias, padding)
    return NotImplemented  # which leaves the operator as it is


def replaces_convolution(
    x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int], groups: int
) -> bool:
    """Whether the table has something faster than sliding for a convolution that is not transposed."""
    shapes = x.shape, weight.shape
    plain = x.dim() == 4 and groups == 1 and {*stride, *dilation} == {1}
    return plain and (winograd.pays(*shapes, padding) or unfolded.pays(*shapes))


def _convolution_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: Sequence[int] | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    output_mask: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    del bias_sizes, output_padding
    if transposed:
        raise CompileError("the gradient of a transposed convolution cannot be compiled: use Upsample and Conv")
    if not replaces_convolution(x, weight, stride, padding, dilation, groups):
        grad_x, grad_weight = sliding_gradients(grad, x, weight, stride, padding, dilation, groups, output_mask)
    elif winograd.pays(x.shape, weight.shape, padding):
        grad_x = winograd.input_gradient(grad, x, weight, padding) if output_mask[0] else None
        grad_weight = winograd.weight_gradient(grad, x, weight, padding) if output_mask[1] else None
    else:
        only_x = (output_mask[0], False)
        grad_x, _ = sliding_gradients(grad, x, weight, stride, padding, dilation, groups, only_x)
        grad_weight = unfolded.weight_gradient(grad, x, weight, padding) if output_mask[1] else None
    return grad_x, grad_weight, grad.sum([0, *range(2, grad.dim())]) if output_mask[2] else None


def sliding_gradients(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    wanted: Sequence[bool] = (True, True),
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of a convolution by its input and by its weight, by other convolutions; None what is not wanted.

    Args:
        grad: the gradient by the output.
        x: the input.
        weight: the kernels.
        stride: of the convolution, one number an axis; so are the next two.
        padding: at either end.
        dilation: between the taps.
        groups: of channels.
        wanted: by the input, by the weight.
    """
    grad_x = grad_weight = None
    if wanted[0]:
        dims = range(weight.dim() - 2)
        # What the forward convolution cut off at the far edge comes back as output padding.
        reach = [
            (grad.shape[2 + d] - 1) * stride[d] - 2 * padding[d] + dilation[d] * (weight.shape[2 + d] - 1) for d in dims
        ]
        extra = [x.shape[2 + d] - reach[d] - 1 for d in dims]
        grad_x = _TRANSPOSED[len(dims) - 1](grad, weight, None, stride, padding, extra, groups, dilation)
    if wanted[1]:
        grad_weight = _weight_gradient(grad, x, weight, stride, padding, dilation, groups)
    return grad_x, grad_weight


def _weight_gradient(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """Correlate inputs with output gradients: rows play the channels, stride and dilation change places."""
    correlate = _correlation if weight.dim() == 5 else _flat_correlation
    pairs = [(x, grad)] if groups == 1 else zip(x.chunk(groups, 1), grad.chunk(groups, 1), strict=True)
    pieces = [correlate(xs, gs, padding, dilation, stride) for xs, gs in pairs]
    full = torch.cat(pieces) if groups > 1 else pieces[0]
    for axis, size in enumerate(weight.shape[2:], 2):
        full = full if full.shape[axis] == size else full.narrow(axis, 0, size)
    return full


def _correlation(
    x: Tensor, grad: Tensor, padding: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> Tensor:
    """`[channels of grad, channels of x, ...]`: the channels of x play the rows of a convolution."""
    convolution = _CONVOLUTIONS[x.dim() - 3]
    return convolution(x.transpose(0, 1), grad.transpose(0, 1), None, stride, padding, dilation).transpose(0, 1)


def _flat_correlation(
    x: Tensor, grad: Tensor, padding: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> Tensor:
    """As `_correlation`; the channels of x are one more axis to slide along, so that it is one large product."""
    convolution = _CONVOLUTIONS[x.dim() - 2]
    kernel = grad.transpose(0, 1).unsqueeze(2)
    return convolution(x.unsqueeze(0), kernel, None, [1, *stride], [0, *padding], [1, *dilation]).squeeze(0)


def _threshold_backward(grad: Tensor, x: Tensor, threshold: float) -> Tensor:
    """Of ReLU. By multiplication: a choice between two tensors takes ONNX Runtime ten times as long."""
    return grad * (x > threshold).to(grad.dtype)


def _power(x: Tensor, exponent: float) -> Any:
    """Squares by multiplication, and their gradients by none: ONNX Runtime's Pow takes thirty times as long."""
    if exponent == 1:
        return x.clone()
    return x * x if exponent == 2 else NotImplemented


def _squeeze(x: Tensor, dims: Sequence[int]) -> Tensor:
    for dim in sorted((dim % x.dim() for dim in dims), reverse=True):
        if x.shape[dim] == 1:
            x = torch.ops.aten.squeeze.dim(x, dim)
    return x
