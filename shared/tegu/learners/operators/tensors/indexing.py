"""Parts of a tensor by their places, where torch's own gradients have no compiled form."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tegu.core.errors import CompileError
from tegu.learners.operators.tensors.choosing import index_select
from tegu.learners.operators.tensors.pieces import sliced, under_vmap

__all__ = ["diagonal", "getitem", "length", "squeeze", "unfold"]


def getitem(x: Tensor, key: Any) -> Tensor:
    """`x[key]`; under vmap one axis at a time, as the gradient of slicing fixes the number of users."""
    keys = key if isinstance(key, tuple) else (key,)
    numbers = [axis for axis, part in enumerate(keys) if type(part) is int]
    slices = [axis for axis, part in enumerate(keys) if isinstance(part, slice) and part == slice(None)]
    if len(numbers) == 1 and len(numbers) + len(slices) == len(keys):
        return x.select(numbers[0], keys[numbers[0]])
    return _part(x, keys) if all(map(_is_basic, keys)) and under_vmap() else x[key]


def _is_basic(part: Any) -> bool:
    if isinstance(part, slice):
        return all(end is None or type(end) is int for end in (part.start, part.stop, part.step))
    return part is None or part is Ellipsis or type(part) is int


def _part(x: Tensor, keys: tuple[Any, ...]) -> Tensor:
    """`x[keys]` for keys that are numbers, slices, None or one Ellipsis."""
    axis = 0
    for position, part in enumerate(keys):
        if part is Ellipsis:
            axis = x.dim() - sum(other is not None for other in keys[position + 1 :])
        elif part is None:
            x, axis = x.unsqueeze(axis), axis + 1
        elif type(part) is int:
            x = x.select(axis, part)
        else:
            # A slice of all rows has no plain numbers.
            whole = part == slice(None)
            x, axis = (x if whole else _sliced(x, axis, part)), axis + 1
    return x


def _sliced(x: Tensor, axis: int, part: slice) -> Tensor:
    if type(x.shape[axis]) is int:
        return sliced(x, axis, part)
    own: Tensor = x[(slice(None),) * axis + (part,)]
    return own


def length(x: Tensor) -> int:
    """`len(x)`.

    Raises:
        CompileError: it is the number of rows, of which Python makes one number for all batches.
    """
    size = x.shape[0]
    if type(size) is not int:
        raise CompileError("len() of a tensor gives one number of rows for every batch: write x.shape[0] in its place")
    return size


def diagonal(x: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """`torch.diagonal`."""
    moved = x.movedim((dim1, dim2), (-2, -1))
    rows, columns = moved.shape[-2:]
    count = max(0, min(rows + min(offset, 0), columns - max(offset, 0)))
    first = max(-offset, 0) * columns + max(offset, 0)
    places = first + torch.arange(count, device=x.device) * (columns + 1)
    return index_select(moved.flatten(-2), -1, places)


def unfold(x: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """`Tensor.unfold`: windows of an axis, on a new last axis."""
    axis = dimension % x.dim()
    count = (x.shape[axis] - size) // step + 1
    places = torch.arange(count, device=x.device).unsqueeze(-1) * step + torch.arange(size, device=x.device)
    spread = index_select(x, axis, places.flatten())
    return spread.reshape(*x.shape[:axis], count, size, *x.shape[axis + 1 :]).movedim(axis + 1, -1)


def squeeze(x: Tensor, *dims: Any, **options: Any) -> Tensor:
    """`torch.squeeze`. Without an axis it keeps the first, that of rows: a batch of one row stays a batch."""
    if dims or options:
        return torch.squeeze(x, *dims, **options)
    single = [axis for axis in range(1, x.dim()) if type(x.shape[axis]) is int and x.shape[axis] == 1]
    return torch.squeeze(x, single) if single else x
