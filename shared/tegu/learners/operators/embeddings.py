"""Embeddings whose rows come from a function, so that a table can be stored by rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor

from tegu.core.errors import CompileError

__all__ = ["Lookup", "embedding", "embedding_bag", "from_table"]

Lookup: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def from_table(ids: Tensor, table: Tensor) -> Tensor:
    """The rows of a table, `[*ids.shape, ...]`."""
    return table[ids]


def embedding(
    look_up: Lookup, ids: Tensor, weight: Tensor, padding_idx: int | None = None, *others: Any, **options: Any
) -> Tensor:
    """`F.embedding` with `look_up` for the rows.

    Raises:
        CompileError: the embedding changes its table, or scales gradients by frequency.
    """
    if any(option not in (None, False, 2.0) for option in (*others, *options.values())):
        raise CompileError(
            "an embedding with max_norm, scale_grad_by_freq or sparse has no compiled form: leave them out"
        )
    rows = look_up(ids, weight)
    if padding_idx is None:
        return rows
    return torch.where((ids == padding_idx % weight.shape[0]).unsqueeze(-1), rows.detach(), rows)


def embedding_bag(
    look_up: Lookup,
    ids: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """`F.embedding_bag` of ids `[rows, ids of a bag]` with `look_up` for the rows of the table.

    Raises:
        CompileError: bags are given by offsets; or as `embedding`.
    """
    del norm_type
    if offsets is not None or include_last_offset or ids.dim() != 2:
        raise CompileError(
            f"an embedding bag of ids of shape {tuple(ids.shape)} with offsets has no compiled form: expected ids "
            "[rows, ids of a bag]; fill short bags up with padding_idx"
        )
    rows = embedding(look_up, ids, weight, None, max_norm, 2.0, scale_grad_by_freq, sparse)
    kept = torch.ones_like(ids) if padding_idx is None else (ids != padding_idx % weight.shape[0]).to(ids.dtype)
    if mode == "max":
        lowest = torch.finfo(rows.dtype).min
        largest = torch.where(kept.unsqueeze(-1) > 0, rows, lowest).max(1).values
        return torch.where(kept.sum(1, keepdim=True) > 0, largest, 0.0)
    weights = kept.to(rows.dtype) if per_sample_weights is None else kept * per_sample_weights
    sums = (rows * weights.unsqueeze(-1)).sum(1)
    return sums / kept.sum(1, keepdim=True).clamp(min=1) if mode == "mean" else sums
