"""Constant matrices that act along one axis: averages over windows of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tegu.learners.operators.linear import matmul
from tegu.learners.operators.tensors.choosing import CHOOSING, index_select

__all__ = ["Windows", "adaptive_windows", "averaged", "maxima", "sliding_windows", "summed"]

Windows = Sequence[range]


def sliding_windows(
    ceil_mode: bool, size: int, kernel: int, stride: int, padding: int = 0, dilation: int = 1
) -> Windows:
    """The positions that each window of a pooling covers along an axis; those below 0 and from `size` on are padding.

    Args:
        ceil_mode: whether a last window may extend beyond the padding.
        size: the axis's size.
        kernel: positions of a window.
        stride: the distance between windows.
        padding: positions before and after the axis.
        dilation: the distance between a window's positions.
    """
    reach = dilation * (kernel - 1) + 1
    spare = size + 2 * padding - reach
    count = (spare + stride - 1 if ceil_mode else spare) // stride + 1
    if ceil_mode and (count - 1) * stride >= size + padding:  # a window that begins in the far padding is left out
        count -= 1
    starts = [i * stride - padding for i in range(count)]
    return [range(start, start + reach, dilation) for start in starts]


def adaptive_windows(size: int, outputs: int) -> Windows:
    """The windows of adaptive pooling: of nearly equal sizes, they cover the axis."""
    return [range(i * size // outputs, -(-(i + 1) * size // outputs)) for i in range(outputs)]


def summed(x: Tensor, axis: int, windows: Windows) -> Tensor:
    """Sums over each window along an axis."""
    return _along(x, axis, windows, lambda window: 1.0)


def averaged(x: Tensor, axis: int, windows: Windows) -> Tensor:
    """Means over each window's positions within the axis."""
    size = x.shape[axis]
    return _along(x, axis, windows, lambda window: 1 / len(_within(window, size)))


def _along(x: Tensor, axis: int, windows: Windows, weight: Callable[[range], float]) -> Tensor:
    matrix = torch.zeros(x.shape[axis], len(windows), dtype=x.dtype)
    for column, window in enumerate(windows):
        matrix[_within(window, len(matrix)), column] = weight(window)
    return matmul(x.movedim(axis, -1), matrix).movedim(-1, axis)


def maxima(x: Tensor, axis: int, windows: Windows) -> Tensor:
    """Maxima over each window along an axis, counted from the front; the first of equal maxima has the gradient."""
    size = x.shape[axis]
    longest = max(len(window) for window in windows)
    positions = [_within(window, size) for window in windows]
    # Repeating a window's first position changes no maximum.
    rows = [each[:1] * (longest - len(each)) + each for each in positions]
    index = torch.tensor(rows, device=x.device)
    shape = (*x.shape[:axis], len(windows), longest, *x.shape[axis + 1 :])
    spread = index_select(x, axis, index.flatten()).reshape(shape)
    largest: Tensor = CHOOSING[torch.max](spread, axis + 1).values
    return largest


def _within(window: range, size: int) -> list[int]:
    return [position for position in window if 0 <= position < size]
