"""Convolutions and their gradients by minimal filtering (Lavin & Gray 2016, arXiv:1509.09308).

An image is cut into tiles of `_STEP` x `_STEP` outputs. Tiles, kernels and outputs are transformed by small matrices;
in between, a product of matrices over the channels takes the place of the sliding kernel: for kernels of 5 x 5 with 64
multiplications a tile in place of 400.

Height and width lead and channels are innermost. So a transform is one matrix for all the tiles along an axis, in which
padding, overlaps and what sticks out are zeros or missing rows; a gradient's transforms are the same matrices
transposed; and nothing is gathered, padded, added up or moved in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tegu.server.compile.cook_toom import Matrix, minimal_filtering
from tegu.server.compile.product import product

__all__ = ["convolution", "input_gradient", "pays", "weight_gradient"]

_STEP = 4  # outputs of a tile, along an axis
_KERNELS = (3, 5)
_CHANNELS = 8  # of input and of output at least
_TRANSFORMING = 2.0  # time of a multiplication in a transform, in those of a convolution


def pays(x: Sequence[object], weight: Sequence[object], padding: Sequence[int]) -> bool:
    """Whether to expect less time than sliding the kernel takes, by counting multiplications.

    Args:
        x: `[n, channels, height, width]`, the input's shape; of a convolution of stride 1, dilation 1 and one group.
        weight: `[filters, channels, kernel, kernel]`, the kernels' shape.
        padding: at either end of both axes.
    """
    sizes = [size for size in (*x[1:], *weight) if isinstance(size, int)]
    if len(sizes) < 7 or sizes[-1] not in _KERNELS or sizes[-2] != sizes[-1]:
        return False
    channels, height, width, filters, _, _, taps = sizes
    down, across = _axis(height, taps, padding[0]), _axis(width, taps, padding[1])
    if min(channels, filters) < _CHANNELS or down.outputs < 1 or across.outputs < 1:
        return False
    points = down.points * across.points
    slid = taps**2 * down.outputs * across.outputs * channels * filters
    into = down.points * height * width + points * width
    out_of = points * across.outputs + down.points * down.outputs * across.outputs
    return points * channels * filters + _TRANSFORMING * (into * channels + out_of * filters) < slid


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None, padding: Sequence[int]) -> Tensor:
    """`[n, filters, height, width]` of `x` `[n, channels, ...]` and `weight` `[filters, channels, kernel, kernel]`.

    In memory its planes are innermost.
    """
    down, across = _axes(x, weight, padding)
    products = product(_data(x, down, across), _kernels(weight))
    result = _both(down.output(x), across.output(x), products.reshape(down.points, across.points, -1))
    result = result.reshape(*result.shape[:2], -1, len(weight))
    return (result if bias is None else result + bias).permute(2, 3, 0, 1)


def weight_gradient(grad: Tensor, x: Tensor, weight: Tensor, padding: Sequence[int]) -> Tensor:
    """The gradient by `weight` where `grad` is that by the output."""
    down, across = _axes(x, weight, padding)
    # [points, tiles, points, channels, filters]: summed over the tiles by the transform.
    products = product(_data(x, down, across).transpose(-1, -2), _outputs(grad, down, across))
    kernel = _transposed(minimal_filtering(_STEP, weight.shape[-1]).kernel)
    spread = [[entry for entry in row for _ in range(down.tiles)] for row in kernel]
    result = _both(_tensor(spread, x), _tensor(kernel, x), products.reshape(down.points, _points(weight), -1))
    return result.reshape(*weight.shape[2:], *weight.shape[1::-1]).permute(3, 2, 0, 1)


def input_gradient(grad: Tensor, x: Tensor, weight: Tensor, padding: Sequence[int]) -> Tensor:
    """The gradient by `x` where `grad` is that by the output. In memory its planes are innermost."""
    down, across = _axes(x, weight, padding)
    products = product(_outputs(grad, down, across), _kernels(weight).transpose(-1, -2))
    products = products.reshape(down.points, across.points, -1)
    result = _both(down.data_gradient(x), across.data_gradient(x), products)
    return result.reshape(*x.shape[2:], -1, x.shape[1]).permute(2, 3, 0, 1)


class _Axis(NamedTuple):
    """Tiles along one axis of an image; in a matrix each of a tile's points stands once for every tile."""

    size: int
    outputs: int
    tiles: int
    taps: int
    padding: int

    @property
    def points(self) -> int:
        return self.tiles * (_STEP + self.taps - 1)

    def data(self, like: Tensor) -> Tensor:
        """`[points, size]`."""
        return _tensor(self._data(), like)

    def data_gradient(self, like: Tensor) -> Tensor:
        return _tensor(_transposed(self._data()), like)

    def output(self, like: Tensor) -> Tensor:
        """`[outputs, points]`."""
        return _tensor(_transposed(self._output()), like)

    def output_gradient(self, like: Tensor) -> Tensor:
        return _tensor(self._output(), like)

    def _data(self) -> Matrix:
        return _placed(minimal_filtering(_STEP, self.taps).data, self.tiles, self.size, -self.padding)

    def _output(self) -> Matrix:
        return _placed(minimal_filtering(_STEP, self.taps).output, self.tiles, self.outputs, 0)


def _axis(size: int, taps: int, padding: int) -> _Axis:
    outputs = size + 2 * padding - taps + 1
    return _Axis(size, outputs, -(-outputs // _STEP), taps, padding)


def _axes(x: Tensor, weight: Tensor, padding: Sequence[int]) -> tuple[_Axis, _Axis]:
    return _axis(x.shape[2], weight.shape[2], padding[0]), _axis(x.shape[3], weight.shape[3], padding[1])


def _points(weight: Tensor) -> int:
    return _STEP + int(weight.shape[-1]) - 1


def _placed(matrix: Matrix, tiles: int, size: int, first: int) -> Matrix:
    """`[points * tiles, size]`: each row of `matrix` at each tile's place, cut off at the ends."""
    starts = [first + tile * _STEP for tile in range(tiles)]
    return [
        [row[place - start] if 0 <= place - start < len(row) else row[0] * 0 for place in range(size)]
        for row in matrix
        for start in starts
    ]


def _data(x: Tensor, down: _Axis, across: _Axis) -> Tensor:
    """`[points, tiles, points, tiles * n, channels]`."""
    return _by_point(_both(down.data(x), across.data(x), x.permute(2, 3, 0, 1)), x, down, across)


def _outputs(grad: Tensor, down: _Axis, across: _Axis) -> Tensor:
    """`[points, tiles, points, tiles * n, filters]`."""
    planes = grad.permute(2, 3, 0, 1)
    return _by_point(_both(down.output_gradient(grad), across.output_gradient(grad), planes), grad, down, across)


def _by_point(transformed: Tensor, images: Tensor, down: _Axis, across: _Axis) -> Tensor:
    tiled = (down.points // down.tiles, down.tiles, across.points // across.tiles)
    return transformed.reshape(*tiled, across.tiles * images.shape[0], images.shape[1])


def _kernels(weight: Tensor) -> Tensor:
    """`[points, 1, points, channels, filters]`."""
    matrix = _tensor(minimal_filtering(_STEP, weight.shape[-1]).kernel, weight)
    filters, channels = weight.shape[:2]
    points = _points(weight)
    return _both(matrix, matrix, weight.permute(2, 3, 1, 0)).reshape(points, 1, points, channels, filters)


def _both(down: Tensor, across: Tensor, x: Tensor) -> Tensor:
    """Transform both axes that lead: `[rows of down, rows of across, the rest of x]`."""
    height, width = x.shape[:2]
    once = (down @ x.reshape(height, -1)).reshape(len(down), width, -1)
    return product(across, once)


def _transposed(matrix: Matrix) -> Matrix:
    return [list(column) for column in zip(*matrix, strict=True)]


def _tensor(matrix: Matrix, like: Tensor) -> Tensor:
    return torch.tensor([[float(entry) for entry in row] for row in matrix], dtype=like.dtype)
