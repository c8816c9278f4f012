"""Pieces along an axis, taken apart and put together, under `torch.func.vmap`.

Torch's batching rules of `cat` and of the gradients of slices fix the number of users in a graph. Elsewhere its own
functions are used: a custom gradient forbids changes in place.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor
from torch._C._functorch import TransformType
from torch._functorch.pyfunctorch import retrieve_all_functorch_interpreters

__all__ = ["PIECES", "chunk", "concatenate", "narrow", "sliced", "split", "under_vmap"]


def under_vmap() -> bool:
    """Whether the code runs inside `torch.func.vmap`."""
    return any(one.key() == TransformType.Vmap for one in retrieve_all_functorch_interpreters())


class _Concatenated(torch.autograd.Function):
    """`torch.cat`, whose batching expands what users share."""

    @staticmethod
    def forward(axis: int, *parts: Tensor) -> Tensor:
        return torch.cat(parts, axis)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.axis, *parts = inputs
        ctx.sizes = [part.shape[ctx.axis] for part in parts]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        parts, before, after = list[Tensor](), 0, sum(ctx.sizes)
        for size in ctx.sizes:
            after -= size
            parts.append(F.pad(grad, _widths(ctx.axis, -before, -after)))
            before += size
        return None, *parts

    @staticmethod
    def vmap(info: Any, in_dims: Sequence[int | None], axis: int, *parts: Tensor) -> tuple[Tensor, int]:
        del info  # its number of users is that of the example
        dims = in_dims[1:]
        users = next(part.shape[dim] for part, dim in zip(parts, dims, strict=True) if dim is not None)
        moved = [
            part.expand(users, *part.shape) if dim is None else part.movedim(dim, 0)
            for part, dim in zip(parts, dims, strict=True)
        ]
        return _concatenated(moved, axis), 0


class _Narrowed(torch.autograd.Function):
    """`torch.narrow`, whose gradient is a padding."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, axis: int, start: int, length: int) -> Tensor:
        return x.narrow(axis, start, length)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int, int, int], output: Tensor) -> None:
        x, axis, start, length = inputs
        ctx.widths = _widths(axis, start, x.shape[axis] - start - length)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        return F.pad(grad, ctx.widths), None, None, None


def _widths(axis: int, before: int, after: int) -> list[int]:
    """The widths that pad one axis, a negative one, at both ends."""
    return [0, 0] * (-1 - axis) + [before, after]


def _concatenated(parts: Sequence[Tensor], axis: int) -> Tensor:
    result: Tensor = _Concatenated.apply(axis, *parts)  # type: ignore[no-untyped-call] # torch has no type for it
    return result


def _narrowed(x: Tensor, axis: int, start: int, length: int) -> Tensor:
    """`x.narrow`, with a negative axis."""
    result: Tensor = _Narrowed.apply(x, axis, start, length)  # type: ignore[no-untyped-call] # as above
    return result


def sliced(x: Tensor, axis: int, part: slice) -> Tensor:
    """`x` with one axis sliced, under vmap; its size and the slice's ends are plain numbers."""
    start, stop, step = part.indices(x.shape[axis])
    axis = axis % x.dim() - x.dim()
    length = max(stop - start, 0)
    if length < x.shape[axis]:
        x = _narrowed(x, axis, start, length)
    if step == 1 or not length:
        return x
    count = -(-length // step)
    whole = F.pad(x, _widths(axis, 0, count * step - length))
    parts = whole.reshape(*whole.shape[:axis], count, step, *whole.shape[whole.dim() + axis + 1 :])
    return parts.select(axis, 0)


def concatenate(tensors: Sequence[Tensor], dim: int = 0, **options: Any) -> Tensor:
    """`torch.cat`."""
    parts = [part for part in tensors if tuple(part.shape) != (0,)]  # torch lets such a part have one axis only
    if options or len(parts) < 2 or not under_vmap():
        return torch.cat(list(tensors), dim, **options)
    common = functools.reduce(torch.promote_types, (part.dtype for part in parts))
    axis = dim % parts[0].dim() - parts[0].dim()
    return _concatenated([part.to(common) for part in parts], axis)


def narrow(x: Tensor, dim: int, start: int, length: int) -> Tensor:
    """`torch.narrow`."""
    if not (_plain(x.shape[dim], start, length) and under_vmap()):
        return torch.narrow(x, dim, start, length)
    return _narrowed(x, dim % x.dim() - x.dim(), start if start >= 0 else start + x.shape[dim], length)


def split(tensor: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0) -> Sequence[Tensor]:
    """`torch.split`."""
    total, given = tensor.shape[dim], split_size_or_sections
    sizes = list(given) if isinstance(given, Sequence) else [given]
    if not (_plain(total, *sizes) and all(sizes) and under_vmap()):
        own: Sequence[Tensor] = torch.functional.split(tensor, given, dim)  # type: ignore[arg-type] # it also takes tuples
        return own
    if not isinstance(given, Sequence):
        sizes = [min(given, total - at) for at in range(0, total, given)]
    starts = itertools.accumulate(sizes, initial=0)
    return tuple(narrow(tensor, dim, start, size) for start, size in zip(starts, sizes, strict=False))


def chunk(x: Tensor, chunks: int, dim: int = 0) -> Sequence[Tensor]:
    """`torch.chunk`."""
    total = x.shape[dim]
    return split(x, -(-total // chunks), dim) if _plain(total) and total else torch.chunk(x, chunks, dim)


def _plain(*sizes: Any) -> bool:
    """Whether all of these are plain numbers, not symbols."""
    return all(type(size) is int for size in sizes)


PIECES: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys([torch.cat, torch.concat, torch.concatenate], concatenate),
    **dict.fromkeys([torch.narrow, Tensor.narrow], narrow),
    torch.split: split,
    Tensor.split: lambda x, split_size, dim=0: split(x, split_size, dim),
    **dict.fromkeys([torch.chunk, Tensor.chunk], chunk),
}
