"""Convolutions and their gradients by minimal filtering (Lavin & Gray 2016, arXiv:1509.09308).

An image is cut into tiles of outputs. Small matrices transform tiles, kernels and outputs. Between the transforms, a
matrix product over the channels replaces the sliding kernel: for 7 x 7 outputs of a 5 x 5 kernel, 169 products instead
of 1225.

Height and width are the leading axes, and channels are innermost in memory. So a transform is one matrix for all tiles
along an axis: padding, overlaps and tiles that extend beyond the image are zeros or missing rows of that matrix. A
gradient's transforms are the same matrices, transposed. No data is gathered, padded, added up or moved in memory.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tegu.compile.operators.broadcast_matmul import product
from tegu.compile.operators.convolution.minimal_filtering import (
    OUTPUTS,
    Filtering,
    Matrix,
    minimal_filtering,
    transposed,
)
from tegu.core.data.batch import Array

__all__ = ["convolution", "input_gradient", "is_faster", "weight_gradient"]

_MIN_CHANNELS = 8  # of the input, and of the output
_MAX_SHARE = 0.8  # of sliding's multiplications; the transforms of large images are mostly zeros


def is_faster(x: Sequence[object], weight: Sequence[object], padding: Sequence[int]) -> bool:
    """Whether to expect less time than sliding the kernel takes, by the number of multiplications.

    Args:
        x: `[n, channels, height, width]`, the input's shape. Stride and dilation are 1, and there is one group.
        weight: `[filters, channels, kernel height, kernel width]`, the kernels' shape.
        padding: zeros at either end of height and of width.
    """
    sizes = [size for size in (*x[1:], *weight) if isinstance(size, int)]
    if len(sizes) < 7 or sizes[-1] not in OUTPUTS or sizes[-2] != sizes[-1]:
        return False
    channels, height, width, filters, _, _, taps = sizes
    if min(channels, filters) < _MIN_CHANNELS or min(height + 2 * padding[0], width + 2 * padding[1]) < taps:
        return False
    down, across = _axis(height, taps, padding[0]), _axis(width, taps, padding[1])
    by_sliding = taps**2 * down.outputs * across.outputs * channels * filters
    into = down.rows * width * (height + across.rows)
    out_of = down.rows * across.outputs * (across.rows + down.outputs)
    filtered = down.rows * across.rows * channels * filters
    return filtered + into * channels + out_of * filters < _MAX_SHARE * by_sliding


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None, padding: Sequence[int]) -> Tensor:
    """The output `[n, filters, height, width]`, whose height and width are outermost in memory.

    Args:
        x: `[n, channels, height, width]`.
        weight: `[filters, channels, kernel, kernel]`.
        bias: `[filters]`, or None.
        padding: zeros at either end of height and of width.
    """
    down, across = axes = _axes(x, weight, padding)
    products = product(_data(x, axes), _kernels(weight, axes)).reshape(down.rows, across.rows, -1)
    result = _transform(transposed(down.output()), transposed(across.output()), products)
    result = result.reshape(down.outputs, across.outputs, -1, weight.shape[0])
    return (result if bias is None else result + bias).permute(2, 3, 0, 1)


def weight_gradient(grad: Tensor, x: Tensor, weight: Tensor, padding: Sequence[int]) -> Tensor:
    """The gradient by `weight`, given the gradient `grad` by the output."""
    down, across = axes = _axes(x, weight, padding)
    products = product(_data(x, axes).transpose(-1, -2), _outputs(grad, axes))
    over_tiles = tuple(
        row for row in down.filtering.kernel for _ in range(down.tiles)
    )  # the transform also adds up the tiles
    products = products.reshape(down.rows, len(across.filtering.kernel), -1)
    result = _transform(transposed(over_tiles), transposed(across.filtering.kernel), products)
    return result.reshape(*weight.shape[2:], *weight.shape[1::-1]).permute(3, 2, 0, 1)


def input_gradient(grad: Tensor, x: Tensor, weight: Tensor, padding: Sequence[int]) -> Tensor:
    """The gradient by `x`, given the gradient `grad` by the output. Its height and width are outermost in memory."""
    down, across = axes = _axes(x, weight, padding)
    products = product(_outputs(grad, axes), _kernels(weight, axes).transpose(-1, -2))
    products = products.reshape(down.rows, across.rows, -1)
    result = _transform(transposed(down.data()), transposed(across.data()), products)
    return result.reshape(down.size, across.size, -1, weight.shape[1]).permute(2, 3, 0, 1)


class _Axis(NamedTuple):
    """The tiles along one axis of an image.

    Attributes:
        size: entries of the input.
        padding: zeros at either end.
        outputs: entries of the output.
        tiles: tiles that cover the outputs.
        step: outputs of a tile.
        filtering: the matrices for one tile.
    """

    size: int
    padding: int
    outputs: int
    tiles: int
    step: int
    filtering: Filtering

    @property
    def rows(self) -> int:
        """The size of the transformed axis: the products of a tile times the number of tiles."""
        return len(self.filtering.kernel) * self.tiles

    def data(self) -> Matrix:
        """The transform of the input `[rows, size]`."""
        return self._placed(self.filtering.data, self.size, -self.padding)

    def output(self) -> Matrix:
        """The transform of the output, transposed: `[rows, outputs]`."""
        return self._placed(self.filtering.output, self.outputs, 0)

    def _placed(self, matrix: Matrix, size: int, first: int) -> Matrix:
        """Each row of `matrix`, shifted to each tile's position and cut off at the ends of the axis."""
        starts = [first + tile * self.step for tile in range(self.tiles)]
        return tuple(
            tuple(row[index - start] if 0 <= index - start < len(row) else row[0] * 0 for index in range(size))
            for row in matrix
            for start in starts
        )


_Axes = tuple[_Axis, _Axis]


def _axes(x: Tensor, weight: Tensor, padding: Sequence[int]) -> _Axes:
    return _axis(x.shape[2], weight.shape[2], padding[0]), _axis(x.shape[3], weight.shape[3], padding[1])


def _axis(size: int, taps: int, padding: int) -> _Axis:
    """Tiles of the size that gives the fewest rows."""
    outputs = size + 2 * padding - taps + 1
    return min(
        (
            _Axis(size, padding, outputs, -(-outputs // step), step, minimal_filtering(step, taps))
            for step in OUTPUTS[taps]
        ),
        key=lambda axis: axis.rows,
    )


def _data(x: Tensor, axes: _Axes) -> Tensor:
    """The transformed input `[products, tiles, products, tiles * n, channels]`."""
    down, across = axes
    return _by_product(_transform(down.data(), across.data(), x.permute(2, 3, 0, 1)), x, axes)


def _outputs(grad: Tensor, axes: _Axes) -> Tensor:
    """The transformed gradient by the output `[products, tiles, products, tiles * n, filters]`."""
    down, across = axes
    return _by_product(_transform(down.output(), across.output(), grad.permute(2, 3, 0, 1)), grad, axes)


def _by_product(rows: Tensor, images: Tensor, axes: _Axes) -> Tensor:
    """Split the transformed axes into products and tiles."""
    down, across = axes
    sizes = (len(down.filtering.kernel), down.tiles, len(across.filtering.kernel))
    return rows.reshape(*sizes, across.tiles * images.shape[0], images.shape[1])


def _kernels(weight: Tensor, axes: _Axes) -> Tensor:
    """The transformed kernels `[products, 1, products, channels, filters]`."""
    down, across = (axis.filtering.kernel for axis in axes)
    result = _transform(down, across, weight.permute(2, 3, 1, 0))
    return result.reshape(len(down), 1, len(across), *weight.shape[1::-1])


def _transform(down: Matrix, across: Matrix, x: Tensor) -> Tensor:
    """Transform both leading axes: `[rows of down, rows of across, the rest of x as one axis]`."""
    height, width = x.shape[:2]
    once = _tensor(down, x) @ x.reshape(height, -1)
    return product(_tensor(across, x), once.reshape(len(down), width, -1))


def _tensor(matrix: Matrix, like: Tensor) -> Tensor:
    # Capturing does not record numpy. It would record three operators for torch.tensor.
    array = _array(matrix)
    return torch.from_numpy(array if like.dtype == torch.float64 else array.astype(np.float32))


@functools.cache
def _array(matrix: Matrix) -> Array:
    return np.array(matrix, np.float64)
