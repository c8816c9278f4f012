"""Pooling and its gradients, in operators that torch.onnx can translate."""

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
    """Maxima `[n, channels, height, width]` and their int64 indices.

    Windows must be adjacent, and channels innermost in memory. Otherwise this returns NotImplemented, which keeps the
    operator. The gradient computes the same maxima, and the graph shares them.
    """
    if x.dim() != 4 or x.stride(1) != 1 or not _adjacent(kernel_size, stride, padding, dilation, ceil_mode):
        return NotImplemented
    kernel = _pair(kernel_size)
    height, width = x.shape[-2] // kernel[0], x.shape[-1] // kernel[1]
    _, rows = _windows(x, kernel, height, width)
    maxima = _planes_first(_maximum(rows).reshape(height, width, -1, x.shape[1]))
    # The indices are rarely read, and capturing drops what is not read.
    first = _to_first_maximum(torch.ones_like(maxima), x, kernel)
    positions = torch.arange(x.shape[-2] * x.shape[-1], dtype=x.dtype).reshape(x.shape[-2:])
    indices = F.avg_pool2d(first * positions, kernel, divisor_override=1)
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
    """Pass each output's gradient to the maximum, or to the first of equal maxima. Overlapping windows add up."""
    kernel = _pair(kernel_size)
    if _adjacent(kernel_size, stride, padding, dilation, ceil_mode):
        return _to_first_maximum(grad, x, kernel)
    flat = torch.zeros_like(x).flatten(-2)
    return flat.scatter_add(-1, indices.flatten(-2), grad.flatten(-2)).reshape(x.shape)


def _adjacent(
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> bool:
    """Whether windows neither overlap nor leave gaps, and lie within the input."""
    return (
        _pair(stride or kernel_size) == _pair(kernel_size)
        and not any(padding)
        and set(dilation) == {1}
        and not ceil_mode
    )


def _to_first_maximum(grad: Tensor, x: Tensor, kernel: tuple[int, int]) -> Tensor:
    """The gradient by `x` of maxima over adjacent windows.

    Height and width are the leading axes, and channels are innermost in memory, so every operator works on long
    contiguous runs. The maximum is computed again, since pooling with indices takes longer than this whole function.
    It is taken within rows and then over rows, so the first maximum in reading order wins, as in torch.
    """
    height, width = grad.shape[-2:]
    columns, rows = _windows(x, kernel, height, width)
    of_rows = _give_to_first(_planes_last(grad).reshape(height, 1, width, 1, -1), rows, _maximum(rows))
    of_columns = _give_to_first(torch.cat(of_rows, 1), columns, _maximum(columns))
    covered = (height * kernel[0], width * kernel[1])
    result = _planes_first(torch.cat(of_columns, 3).reshape(*covered, -1, *x.shape[1:-2]))
    edge = [0, x.shape[-1] - covered[1], 0, x.shape[-2] - covered[0]]
    return F.pad(result, edge) if any(edge) else result


def _windows(x: Tensor, kernel: tuple[int, int], height: int, width: int) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """The columns of all windows `[height, rows of a window, width, 1, n * channels]`, and the rows of their maxima."""
    covered = _planes_last(_cropped(x, height * kernel[0], width * kernel[1]))
    columns = covered.reshape(height, kernel[0], width, kernel[1], -1).chunk(kernel[1], 3)
    return columns, _maximum(columns).chunk(kernel[0], 1)


def _cropped(x: Tensor, height: int, width: int) -> Tensor:
    whole = x.shape[-2:] == (height, width)
    return x if whole else x.narrow(-2, 0, height).narrow(-1, 0, width)


def _planes_last(x: Tensor) -> Tensor:
    """Move height and width to the front: `[height, width, ...]`."""
    return x.permute(-2, -1, *range(x.dim() - 2))


def _planes_first(x: Tensor) -> Tensor:
    """Undo `_planes_last`."""
    return x.permute(*range(2, x.dim()), 0, 1)


def _maximum(parts: Sequence[Tensor]) -> Tensor:
    return functools.reduce(torch.maximum, parts)


def _give_to_first(grad: Tensor, parts: Sequence[Tensor], largest: Tensor) -> list[Tensor]:
    """Split `grad`: all of it for the first of `parts` that equals `largest`, and zero for the others."""
    shares, rest = list[Tensor](), grad
    for part in parts[:-1]:
        shares.append(rest * (part == largest).to(grad.dtype))
        rest = rest - shares[-1]
    return [*shares, rest]


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
    """Spread each output's gradient evenly over its window: a transposed convolution with ones, channel by channel.

    Raises:
        CompileError: `ceil_mode` is True, so windows may extend beyond the input.
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
        CompileError: a size of the output does not divide that of the input.
    """
    return F.avg_pool2d(x, _window(x, output_size))


def adaptive_avg_pool2d_backward(grad: Tensor, x: Tensor) -> Tensor:
    """The gradient of `adaptive_avg_pool2d` by its input.

    Raises:
        CompileError: as `adaptive_avg_pool2d`.
    """
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
