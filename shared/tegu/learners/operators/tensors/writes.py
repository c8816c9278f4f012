"""Changes of a part of a tensor in place, as a change of the whole: torch's gradients of the former have no batches."""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor

__all__ = ["setitem"]

_Box: TypeAlias = list[tuple[int, int, bool] | None]
_UNKNOWN = (-1, -1, False)


def setitem(x: Tensor, key: Any, value: Any) -> None:
    """`x[key] = value`; where numbers, slices or a mask choose, in a form that can be batched over users."""
    if isinstance(key, Tensor) and key.dtype == torch.bool and torch.as_tensor(value).dim() == 0:
        x.copy_(torch.where(key.reshape(*key.shape, *[1] * (x.dim() - key.dim())), value, x))
    elif box := _box(x, key):
        x.copy_(_with(x, box, torch.as_tensor(value, dtype=x.dtype, device=x.device)))
    else:
        x[key] = value


def _with(x: Tensor, box: _Box, value: Tensor) -> Tensor:
    """`x` with `value` in a box of its entries."""
    within = torch.ones((), dtype=torch.bool, device=x.device)
    single, widths, shape = list[int](), list[int](), list[Any]()
    for axis, (size, bounds) in enumerate(zip(x.shape, box, strict=True)):
        first, count, drops = bounds or (0, size, False)
        widths[:0] = [first, size - first - count] if bounds else [0, 0]
        single += [axis] if drops else []
        shape += [] if drops else [count]
        if bounds:
            places = torch.arange(size, device=x.device)
            inside = (places >= first) & (places < first + count)
            within = within & inside.reshape([-1 if other == axis else 1 for other in range(x.dim())])
    extra = max(0, value.dim() - len(shape))  # leading axes of size 1
    placed = value.reshape(value.shape[extra:]).expand(shape)
    for axis in single:
        placed = placed.unsqueeze(axis)
    return torch.where(within, F.pad(placed, widths), x)


def _box(x: Tensor, key: Any) -> _Box | None:
    """For each axis the first place, the number of places, and whether the axis is dropped; None for a whole axis.

    None for the whole: `key` is no box of known places.
    """
    keys = list(key) if isinstance(key, tuple) else [key]
    if not all(part is Ellipsis or type(part) is int or isinstance(part, slice) for part in keys):
        return None
    at = next((i for i, part in enumerate(keys) if part is Ellipsis), len(keys))
    missing = x.dim() - sum(part is not Ellipsis for part in keys)
    keys[at : at + 1] = [slice(None)] * missing
    found = [_bounds(size, part) for size, part in zip(x.shape, keys, strict=True)]
    return None if _UNKNOWN in found else found


def _bounds(size: int, part: int | slice) -> tuple[int, int, bool] | None:
    if part == slice(None):
        return None
    if type(size) is not int:  # the number of rows
        return _UNKNOWN
    if isinstance(part, int):
        return part % size, 1, True
    first, end, step = part.indices(size)
    return (first, max(end - first, 0), False) if step == 1 else _UNKNOWN
