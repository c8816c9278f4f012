"""Gradients of pooling, in operators that torch.onnx can translate."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor

from tegu.core.errors import CompileError

__all__ = [
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_backward",
    "avg_pool2d_backward",
    "max_pool2d",
    "max_pool2d_backward",
]


def max_pool2d(
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    ceil_mode: bool = False,
) -> Any:
    """Maxima and their indices, where planes are innermost in memory: the gradient takes the same maxima.

    Elsewhere NotImplemented, which leaves the operator as it is.
    """
    if x.dim() != 4 or x.stride(1) != 1 or not _side_by_side(kernel_size, stride, padding, dilation, ceil_mode):
        return NotImplemented
    kernel = _pair(kernel_size)
    height, width = x.shape[-2] // kernel[0], x.shape[-1] // kernel[1]
    _, rows = _windows(x, kernel, height, width)
    maxima = _planes_first(_largest(rows).reshape(height, width, -1, x.shape[1]))
    # Nearly always nobody reads the indices, and recordings drop what nobody reads.
    first = _to_first_maximum(torch.ones_like(maxima), x, kernel)
    places = torch.arange(x.shape[-2] * x.shape[-1], dtype=x.dtype).reshape(x.shape[-2:])
    indices = F.avg_pool2d(first * places, kernel, divisor_override=1)
    return maxima, indices.to(torch.int64)


def max_pool2d_backward(
    grad: Tensor,
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
    indices: Tensor,
) -> Tensor:
    """Each output's gradient goes to the input it came from, the first of several; overlapping windows add up."""
    kernel = _pair(kernel_size)
    if _side_by_side(kernel_size, stride, padding, dilation, ceil_mode):
        return _to_first_maximum(grad, x, kernel)
    flat = torch.zeros_like(x).flatten(-2)
    return flat.scatter_add(-1, indices.flatten(-2), grad.flatten(-2)).reshape(x.shape)


def _side_by_side(
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> bool:
    return (
        _pair(stride or kernel_size) == _pair(kernel_size)
        and not any(padding)
        and set(dilation) == {1}
        and not ceil_mode
    )


def _to_first_maximum(grad: Tensor, x: Tensor, kernel: tuple[int, int]) -> Tensor:
    """The gradient of maxima over windows side by side.

    Positions in a plane lead and planes are innermost, so that every operator works on long contiguous runs. The
    maximum is taken again (pooling that gives indices takes longer than this whole function): within rows, then over
    them, so that the first in reading order wins, as in torch.
    """
    height, width = grad.shape[-2:]
    columns, rows = _windows(x, kernel, height, width)
    of_rows = _shares(_planes_last(grad).reshape(height, 1, width, 1, -1), rows, _largest(rows))
    of_columns = _shares(torch.cat(of_rows, 1), columns, _largest(columns))
    covered = (height * kernel[0], width * kernel[1])
    result = _planes_first(torch.cat(of_columns, 3).reshape(*covered, -1, *x.shape[1:-2]))
    edge = [0, x.shape[-1] - covered[1], 0, x.shape[-2] - covered[0]]
    return F.pad(result, edge) if any(edge) else result


def _windows(x: Tensor, kernel: tuple[int, int], height: int, width: int) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """The columns of all windows, `[height, rows of a window, width, 1, planes]`, and the rows of their maxima."""
    covered = _planes_last(_cropped(x, height * kernel[0], width * kernel[1]))
    columns = covered.reshape(height, kernel[0], width, kernel[1], -1).chunk(kernel[1], 3)
    return columns, _largest(columns).chunk(kernel[0], 1)


def _cropped(x: Tensor, height: int, width: int) -> Tensor:
    whole = x.shape[-2:] == (height, width)
    return x if whole else x.narrow(-2, 0, height).narrow(-1, 0, width)


def _planes_last(x: Tensor) -> Tensor:
    """`[height, width, ...]`."""
    return x.permute(-2, -1, *range(x.dim() - 2))


def _planes_first(x: Tensor) -> Tensor:
    return x.permute(*range(2, x.dim()), 0, 1)


def _largest(parts: Sequence[Tensor]) -> Tensor:
    return functools.reduce(torch.maximum, parts)


def _shares(grad: Tensor, parts: Sequence[Tensor], largest: Tensor) -> list[Tensor]:
    """All of `grad` for the first of the parts that equals `largest`, nothing for the others."""
    shares, left = list[Tensor](), grad
    for part in parts[:-1]:
        shares.append(left * (part == largest).to(grad.dtype))
        left = left - shares[-1]
    return [*shares, left]


def avg_pool2d_backward(
    grad: Tensor,
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    """Each output's gradient is spread evenly over its window: a transposed convolution with ones, channel by channel.

    Raises:
        CompileError: `ceil_mode`, whose windows overhang.
    """
    if ceil_mode:
        raise CompileError("the gradient of average pooling with ceil_mode=True cannot be compiled: pad the input")
    kernel, step, edge = (_pair(sizes or kernel_size) for sizes in (kernel_size, stride, padding))
    ones = torch.ones((1, 1, *kernel))
    counts: Tensor | int = divisor_override or kernel[0] * kernel[1]
    if not (count_include_pad or divisor_override):
        counts = F.conv2d(torch.ones((1, 1, *x.shape[-2:])), ones, None, step, edge)
    planes = (grad / counts).reshape(-1, 1, *grad.shape[-2:])
    reach = [(grad.shape[d - 2] - 1) * step[d] - 2 * edge[d] + kernel[d] for d in range(2)]
    cut = [x.shape[d - 2] - reach[d] for d in range(2)]
    return F.conv_transpose2d(planes, ones, None, step, edge, cut).reshape(x.shape)


def adaptive_avg_pool2d(x: Tensor, output_size: Sequence[int]) -> Tensor:
    """Average pooling with equal windows.

    Raises:
        CompileError: the output does not divide the input.
    """
    return F.avg_pool2d(x, _window(x, output_size))


def adaptive_avg_pool2d_backward(grad: Tensor, x: Tensor) -> Tensor:
    """The gradient of `adaptive_avg_pool2d`."""
    window = _window(x, grad.shape[-2:])
    return avg_pool2d_backward(grad, x, window, window, (0, 0), False, True, None)


def _window(x: Tensor, output_size: Sequence[int]) -> list[int]:
    height, width = x.shape[-2:]
    if height % output_size[0] or width % output_size[1]:
        raise CompileError(
            f"adaptive average pooling from {height} x {width} to {' x '.join(map(str, output_size))} has unequal "
            "windows, which cannot be compiled: choose an output that divides the input, or AvgPool2d"
        )
    return [height // output_size[0], width // output_size[1]]


def _pair(sizes: Sequence[int]) -> tuple[int, int]:
    return sizes[0], sizes[-1]
