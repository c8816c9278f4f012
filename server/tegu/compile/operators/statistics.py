"""Variances, and the place of numbers among boundaries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["bucketize", "searchsorted", "var", "var_mean"]


def var(
    x: Tensor, dim: Sequence[int] | None = None, *, correction: float | None = None, keepdim: bool = False
) -> Tensor:
    """`aten.var.correction`."""
    return var_mean(x, dim, correction=correction, keepdim=keepdim)[0]


def var_mean(
    x: Tensor, dim: Sequence[int] | None = None, *, correction: float | None = None, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    """`aten.var_mean.correction`."""
    axes = list(range(x.dim())) if dim is None else list(dim)
    mean = x.mean(axes, keepdim=True)
    squares = (x - mean).square().sum(axes, keepdim=keepdim)
    count = 1
    for axis in axes:
        count = count * x.shape[axis]
    return squares / (count - (1 if correction is None else correction)), mean if keepdim else x.mean(axes)


def bucketize(x: Tensor, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """`aten.bucketize`: the number of boundaries below each entry (with `right`, at or below it)."""
    entries = x.unsqueeze(-1)
    below = boundaries <= entries if right else boundaries < entries
    return below.sum(-1).to(torch.int32 if out_int32 else torch.int64)


def searchsorted(
    boundaries: Tensor,
    x: Tensor,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Any:
    """`aten.searchsorted` of boundaries `[count]` or `[..., count]`."""
    if sorter is not None:
        return NotImplemented
    rows = boundaries if boundaries.dim() == 1 else boundaries.unsqueeze(-2)
    return bucketize(x, rows, out_int32=out_int32, right=right or side == "right")
