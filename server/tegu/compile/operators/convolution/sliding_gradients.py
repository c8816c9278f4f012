"""The gradients of a convolution by its input and by its weight, computed by other convolutions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor

__all__ = ["sliding_gradients", "transposed_gradients"]

_CONVOLUTIONS = (F.conv1d, F.conv2d, F.conv3d)
_TRANSPOSED = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)


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
    """The gradients by `x` and by `weight`, of their shapes; None for each that is not wanted.

    Args:
        grad: the gradient by the output `[n, filters, ...]`.
        x: the input `[n, channels, ...]`, with 1 to 3 axes after the channels.
        weight: the kernels `[filters, channels / groups, ...]`.
        stride: one number an axis, as `padding` and `dilation`.
        padding: zeros at either end of an axis.
        dilation: the distance between a kernel's entries.
        groups: groups of channels.
        wanted: whether to compute the gradient by `x`, and that by `weight`.
    """
    grad_x = grad_weight = None
    if wanted[0]:
        dims = range(weight.dim() - 2)
        # Entries at the far edge that the forward convolution did not reach are output padding here.
        reach = [
            (grad.shape[2 + d] - 1) * stride[d] - 2 * padding[d] + dilation[d] * (weight.shape[2 + d] - 1) for d in dims
        ]
        extra = [x.shape[2 + d] - reach[d] - 1 for d in dims]
        grad_x = _TRANSPOSED[len(dims) - 1](grad, weight, None, stride, padding, extra, groups, dilation)
    if wanted[1]:
        grad_weight = _weight_gradient(grad, x, weight, stride, padding, dilation, groups)
    return grad_x, grad_weight


def transposed_gradients(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    wanted: Sequence[bool] = (True, True),
) -> tuple[Tensor | None, Tensor | None]:
    """As `sliding_gradients`, for a transposed convolution: its output and its input change places.

    Args:
        grad: the gradient by the output `[n, filters, ...]`.
        x: the input `[n, channels, ...]`.
        weight: the kernels `[channels, filters / groups, ...]`.
        stride: one number an axis, as `padding` and `dilation`.
        padding: entries that the output lacks at either end of an axis.
        dilation: the distance between a kernel's entries.
        groups: groups of channels.
        wanted: whether to compute the gradient by `x`, and that by `weight`.
    """
    grad_x = grad_weight = None
    if wanted[0]:
        grad_x = _CONVOLUTIONS[weight.dim() - 3](grad, weight, None, stride, padding, dilation, groups)
    if wanted[1]:
        grad_weight = _weight_gradient(x, grad, weight, stride, padding, dilation, groups)
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
    """Correlate inputs with output gradients: rows take the place of channels, and stride and dilation swap."""
    correlate = _correlation if weight.dim() == 5 else _correlation_of_one_row
    pairs = [(x, grad)] if groups == 1 else zip(x.chunk(groups, 1), grad.chunk(groups, 1), strict=True)
    pieces = [correlate(xs, gs, padding, dilation, stride) for xs, gs in pairs]
    full = torch.cat(pieces) if groups > 1 else pieces[0]
    for axis, size in enumerate(weight.shape[2:], 2):
        full = full if full.shape[axis] == size else full.narrow(axis, 0, size)
    return full


def _correlation(
    x: Tensor, grad: Tensor, padding: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> Tensor:
    """`[channels of grad, channels of x, ...]`: a convolution whose rows are the channels of `x`."""
    convolution = _CONVOLUTIONS[x.dim() - 3]
    return convolution(x.transpose(0, 1), grad.transpose(0, 1), None, stride, padding, dilation).transpose(0, 1)


def _correlation_of_one_row(
    x: Tensor, grad: Tensor, padding: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> Tensor:
    """As `_correlation`, as one large product: the channels of `x` are one more axis along which the kernel slides."""
    convolution = _CONVOLUTIONS[x.dim() - 2]
    kernel = grad.transpose(0, 1).unsqueeze(2)
    return convolution(x.unsqueeze(0), kernel, None, [1, *stride], [0, *padding], [1, *dilation]).squeeze(0)
