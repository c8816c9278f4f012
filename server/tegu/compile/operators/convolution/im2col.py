"""Convolutions by im2col, for few channels: copy the input's windows into one matrix, and multiply by it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor

__all__ = ["convolution", "is_faster", "weight_gradient"]

_MAX_WINDOW = 32  # entries of a window; the windows take that many times the memory of one channel
_MIN_FILTERS = 8


def is_faster(x: Sequence[object], weight: Sequence[object]) -> bool:
    """Whether to expect less time than sliding the kernel takes.

    All steps share the windows of an input that is data. The output has channels innermost in memory, which suits
    pooling.

    Args:
        x: `[n, channels, height, width]`, the input's shape. Stride and dilation are 1, and there is one group.
        weight: `[filters, channels, kernel height, kernel width]`, the kernels' shape.
    """
    sizes = [size for size in (*x[1:], *weight) if isinstance(size, int)]
    return (
        len(sizes) == 7 and sizes[4] * sizes[5] * sizes[6] <= _MAX_WINDOW and sizes[3] >= _MIN_FILTERS and sizes[5] > 1
    )


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None, padding: Sequence[int]) -> Tensor:
    """The output `[n, filters, height, width]`, whose height and width are outermost in memory."""
    height, width = (x.shape[2 + d] + 2 * padding[d] - weight.shape[2 + d] + 1 for d in range(2))
    kernels = weight.permute(3, 2, 1, 0).reshape(-1, len(weight))
    windows = _windows(x, weight, padding).t()
    result = windows @ kernels if bias is None else torch.addmm(bias, windows, kernels)
    return result.reshape(height, width, -1, len(weight)).permute(2, 3, 0, 1)


def weight_gradient(grad: Tensor, x: Tensor, weight: Tensor, padding: Sequence[int]) -> Tensor:
    """The gradient by `weight`, given the gradient `grad` by the output."""
    filters, channels, height, width = weight.shape
    gradient = _windows(x, weight, padding) @ grad.permute(2, 3, 0, 1).reshape(-1, filters)
    return gradient.reshape(width, height, channels, filters).permute(3, 2, 1, 0)


def _windows(x: Tensor, weight: Tensor, padding: Sequence[int]) -> Tensor:
    """The input's windows `[kernel width * kernel height * channels, height * width * n]`."""
    padded = F.pad(x, (padding[1], padding[1], padding[0], padding[0])).permute(1, 2, 3, 0)
    for axis, taps in ((1, weight.shape[2]), (2, weight.shape[3])):
        size = padded.shape[axis] - taps + 1
        padded = torch.cat([padded.narrow(axis, tap, size) for tap in range(taps)])
    return padded.reshape(len(padded), -1)
