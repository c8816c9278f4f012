"""Views by strides, which torch's gradients of in-place changes of a slice use: they look entries up by their place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["as_strided", "as_strided_scatter"]


def as_strided(x: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Any:
    """`aten.as_strided` of a tensor whose entries are in order in memory."""
    if not x.is_contiguous():
        return NotImplemented
    return x.reshape(-1).index_select(0, _places(size, stride, storage_offset).reshape(-1)).reshape(size)


def as_strided_scatter(
    x: Tensor, source: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Any:
    """`aten.as_strided_scatter` into a tensor whose entries are in order in memory."""
    if not x.is_contiguous():
        return NotImplemented
    places = _places(size, stride, storage_offset).reshape(-1)
    return x.reshape(-1).scatter(0, places, source.reshape(-1)).reshape(x.shape)


def _places(size: Sequence[int], stride: Sequence[int], offset: int | None) -> Tensor:
    places = torch.full([1] * len(size), offset or 0, dtype=torch.int64)
    for axis, (count, step) in enumerate(zip(size, stride, strict=True)):
        shape = [1] * len(size)
        shape[axis] = count
        places = places + (torch.arange(count) * step).reshape(shape)
    return places
