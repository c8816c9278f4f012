"""Padding with values of the input, as pieces put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor

from tegu.learners.operators.tensors.pieces import concatenate

__all__ = ["pad"]


def pad(x: Tensor, widths: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """`F.pad`; replicating and circular padding by pieces of the input, other padding by torch's own function."""
    pieces = _PIECES.get(mode)
    if pieces is None:
        return F.pad(x, widths, mode, value)
    for i, axis in enumerate(range(x.dim() - 1, x.dim() - 1 - len(widths) // 2, -1)):
        before, after = widths[2 * i : 2 * i + 2]
        x = concatenate(pieces(x, axis, before, after), axis) if before or after else x
    return x


def _replicated(x: Tensor, axis: int, before: int, after: int) -> list[Tensor]:
    first, last = x.narrow(axis, 0, 1), x.narrow(axis, x.shape[axis] - 1, 1)
    kept = x.narrow(axis, max(-before, 0), x.shape[axis] - max(-before, 0) - max(-after, 0))
    return [*[first] * before, kept, *[last] * after]


def _circular(x: Tensor, axis: int, before: int, after: int) -> list[Tensor]:
    size = x.shape[axis]
    kept = x.narrow(axis, max(-before, 0), size - max(-before, 0) - max(-after, 0))
    ends = [x.narrow(axis, size - before, before)] if before > 0 else []
    return [*ends, kept, *([x.narrow(axis, 0, after)] if after > 0 else [])]


_PIECES: dict[str, Callable[[Tensor, int, int, int], list[Tensor]]] = {
    "replicate": _replicated,
    "circular": _circular,
}
