"""Entries chosen by their places along an axis, under `torch.func.vmap`: as products with ones and zeros.

Torch's batching rules of the gradients of `gather`, `index_select` and `sort` fix the number of users in a graph.
Elsewhere its own functions are used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor

from tegu.learners.operators.tensors.pieces import under_vmap

__all__ = ["CHOOSING", "Found", "gather", "index_select", "sort"]


class Found(NamedTuple):
    """Entries along an axis, and their places on it."""

    values: Tensor
    indices: Tensor


def index_select(x: Tensor, dim: int, index: Tensor) -> Tensor:
    """`torch.index_select`."""
    if not (under_vmap() and x.is_floating_point() and type(x.shape[dim]) is int):
        return torch.index_select(x, dim, index)
    chosen = _one_hot(index, x.shape[dim], x.dtype)
    moved = x.movedim(dim, -1)
    # One product of flattened vectors: see `operators.linear`.
    product = torch.mm(moved.reshape(-1, moved.shape[-1]), chosen.t())
    return product.reshape(*moved.shape[:-1], chosen.shape[0]).movedim(-1, dim)


def gather(x: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """`torch.gather`."""
    axis = dim % x.dim() if x.dim() else 0
    others = [size for other, size in enumerate(x.shape) if other != axis]
    aligned = others == [size for other, size in enumerate(index.shape) if other != axis]
    if not (under_vmap() and x.is_floating_point() and aligned and x.dim() and type(x.shape[axis]) is int):
        return torch.gather(x, dim, index, sparse_grad=sparse_grad)
    chosen = _one_hot(index.movedim(axis, -1), x.shape[axis], x.dtype)
    return (chosen * x.movedim(axis, -1).unsqueeze(-2)).sum(-1).movedim(-1, axis)


def sort(x: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
    """`torch.sort`."""
    if not under_vmap():
        return _sorted(x, dim, descending, stable)
    places = _sorted(x.detach(), dim, descending, stable).indices
    return Found(gather(x, dim, places), places)


def _sorted(x: Tensor, dim: int, descending: bool, stable: bool) -> Any:
    if stable:
        return torch.sort(x, stable=True, dim=dim, descending=descending)
    return torch.sort(x, dim, descending)


def _topk(x: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:  # noqa: A002 # as in torch
    if not under_vmap():
        return torch.topk(x, k, dim, largest, sorted)
    places = torch.topk(x.detach(), k, dim, largest, sorted).indices
    return Found(gather(x, dim, places), places)


def _extreme(function: Callable[..., Any]) -> Callable[..., Any]:
    """`torch.max` or `torch.min`: along an axis by its place, otherwise torch's own."""

    def along(x: Tensor, *args: Any, **options: Any) -> Any:
        given = {**dict(zip(("dim", "keepdim"), args, strict=False)), **options}
        dim = given.get("dim")
        if not (under_vmap() and type(dim) is int and set(given) <= {"dim", "keepdim"}):
            return function(x, *args, **options)
        places = function(x.detach(), dim, True).indices
        kept = Found(gather(x, dim, places), places)
        return kept if given.get("keepdim") else Found(*(part.squeeze(dim) for part in kept))

    return along


def _labels(labels: Tensor, num_classes: int = -1) -> Tensor:
    """`F.one_hot`, which checks the labels' values."""
    return F.one_hot(labels) if num_classes < 0 else _one_hot(labels, num_classes, torch.int64)


def _one_hot(index: Tensor, count: int, dtype: torch.dtype) -> Tensor:
    places = torch.arange(count, device=index.device)
    return (torch.where(index < 0, index + count, index).unsqueeze(-1) == places).to(dtype)


CHOOSING: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys([torch.index_select, Tensor.index_select], index_select),
    **dict.fromkeys([torch.gather, Tensor.gather], gather),
    **dict.fromkeys([torch.sort, Tensor.sort], sort),
    **dict.fromkeys([torch.topk, Tensor.topk], _topk),
    **dict.fromkeys([torch.max, Tensor.max], _extreme(torch.max)),
    **dict.fromkeys([torch.min, Tensor.min], _extreme(torch.min)),
    F.one_hot: _labels,
}
