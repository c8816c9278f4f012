"""Memory without contents, which torch's decompositions fill afterwards: zeros in a graph, as ONNX has only values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["empty_permuted", "empty_strided", "new_empty_strided"]


def empty_permuted(size: Sequence[int], physical_layout: Sequence[int], **options: Any) -> Tensor:
    """Zeros of this size; their order in memory is left to ONNX Runtime."""
    del physical_layout
    return _zeros(size, options)


def empty_strided(size: Sequence[int], stride: Sequence[int], **options: Any) -> Tensor:
    """As `empty_permuted`."""
    del stride
    return _zeros(size, options)


def new_empty_strided(like: Tensor, size: Sequence[int], stride: Sequence[int], **options: Any) -> Tensor:
    """As `empty_permuted`, of the dtype of `like` unless `options` has another."""
    del stride
    return _zeros(size, {"dtype": like.dtype, **options})


def _zeros(size: Sequence[int], options: dict[str, Any]) -> Tensor:
    return torch.zeros(size, dtype=options.get("dtype"))
