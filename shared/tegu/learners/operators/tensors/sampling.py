"""Reading an image at places between its pixels, as in spatial transformers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from tegu.core.errors import CompileError

__all__ = ["affine_grid", "grid_sample"]


def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """`F.affine_grid`: places `[n, ..., axes]`, each axis from -1 to 1, under affine maps `[n, axes, axes + 1]`."""
    axes = size[2:]
    lines = [_line(count, bool(align_corners), theta) for count in axes]
    grids = torch.meshgrid(*lines, indexing="ij")
    places = torch.stack([*reversed(grids), torch.ones_like(grids[0])], -1).reshape(-1, len(axes) + 1)
    return (places @ theta.transpose(1, 2)).reshape(-1, *axes, len(axes))


def _line(count: int, align_corners: bool, like: Tensor) -> Tensor:
    line = torch.linspace(-1, 1, count, dtype=like.dtype, device=like.device)
    return line if align_corners else line * ((count - 1) / count)


def grid_sample(
    x: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """`F.grid_sample` of `x` `[n, channels, ...]` at the places `grid` `[n, ..., axes]`.

    Raises:
        CompileError: a mode other than bilinear and nearest, or a padding other than zeros and border.
    """
    if mode not in ("bilinear", "nearest") or padding_mode not in ("zeros", "border"):
        raise CompileError(
            f"grid_sample with mode {mode!r} and padding_mode {padding_mode!r} has no compiled form: expected bilinear "
            "or nearest, with zeros or border"
        )
    sizes = x.shape[2:]
    places = list(reversed(grid.flatten(1, -2).unbind(-1)))  # the order of the axes of x
    scaled = [_scaled(place, size, bool(align_corners)) for place, size in zip(places, sizes, strict=True)]
    if padding_mode == "border":
        scaled = [place.clamp(0, size - 1) for place, size in zip(scaled, sizes, strict=True)]
    if mode == "nearest":
        corners = [[(place.round(), torch.ones_like(place))] for place in scaled]
    else:
        lower = [place.floor() for place in scaled]
        corners = [[(low, 1 - (place - low)), (low + 1, place - low)] for place, low in zip(scaled, lower, strict=True)]
    result = sum((_read(x, corner) for corner in itertools.product(*corners)), start=x.new_zeros(()))
    return result.reshape(*x.shape[:2], *grid.shape[1:-1])


def _scaled(place: Tensor, size: int, align_corners: bool) -> Tensor:
    return (place + 1) / 2 * (size - 1) if align_corners else ((place + 1) * size - 1) / 2


def _read(x: Tensor, corner: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """The entries `[n, channels, places]` at one corner of each place, times its weight; outside of `x` they are 0."""
    index: Tensor | int = 0
    weight = torch.ones_like(corner[0][1])
    for (place, share), size in zip(corner, x.shape[2:], strict=True):
        weight = weight * share * ((place >= 0) & (place <= size - 1)).to(share.dtype)
        index = index * size + place.detach().clamp(0, size - 1).to(torch.int64)
    assert isinstance(index, Tensor)  # noqa: S101 # there is at least one axis
    entries = x.flatten(2).gather(2, index.unsqueeze(1).expand(-1, x.shape[1], -1))
    return entries * weight.unsqueeze(1)
