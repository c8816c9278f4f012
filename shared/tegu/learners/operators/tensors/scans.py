"""Products, extremes and medians along an axis, in a number of steps that grows with the logarithm of its size."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor

from tegu.learners.operators.tensors.choosing import Found, sort
from tegu.learners.operators.tensors.pieces import concatenate, narrow

__all__ = ["cummax", "cummin", "cumprod", "median", "prod"]


def cumprod(x: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Tensor:
    """`torch.cumprod`: every entry takes in those 1, 2, 4, ... places before it."""
    moved = (x if dtype is None else x.to(dtype)).movedim(dim, -1)
    distance = 1
    while distance < moved.shape[-1]:
        moved = moved * F.pad(narrow(moved, -1, 0, moved.shape[-1] - distance), (distance, 0), value=1)
        distance *= 2
    return moved.movedim(-1, dim)


def prod(x: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Tensor:
    """`torch.prod`: halves of the axis are multiplied until one entry is left."""
    if dim is None:
        return torch.prod(x, dtype=dtype)
    moved = (x if dtype is None else x.to(dtype)).movedim(dim, -1)
    while moved.shape[-1] > 1:
        even = F.pad(moved, (0, moved.shape[-1] % 2), value=1)
        half = even.shape[-1] // 2
        moved = narrow(even, -1, 0, half) * narrow(even, -1, half, half)
    return moved.movedim(-1, dim) if keepdim else moved.squeeze(-1)


def cummax(x: Tensor, dim: int) -> Any:
    """`torch.cummax`; of equal entries the last counts."""
    values, places = x.movedim(dim, -1), torch.arange(x.shape[dim], device=x.device).expand(x.movedim(dim, -1).shape)
    distance = 1
    while distance < values.shape[-1]:
        left = values.shape[-1] - distance
        # The first entries have none so far before them: they are compared with themselves.
        before, own = concatenate([values[..., :distance], values[..., :left]], -1), values
        places_before = concatenate([places[..., :distance], places[..., :left]], -1)
        kept = own >= before
        values, places = torch.where(kept, own, before), torch.where(kept, places, places_before)
        distance *= 2
    return Found(values.movedim(-1, dim), places.movedim(-1, dim))


def cummin(x: Tensor, dim: int) -> Any:
    """`torch.cummin`; of equal entries the last counts."""
    values, places = cummax(-x, dim)
    return Found(-values, places)


def median(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """`torch.median`: the lower of two middle entries."""
    if dim is None:
        return torch.median(x)
    ordered = sort(x, dim)
    middle = (x.shape[dim] - 1) // 2
    parts = [narrow(part, dim, middle, 1) for part in ordered]
    return Found(*(part if keepdim else part.squeeze(dim) for part in parts))
