"""Rows of users, padded so that users with different numbers of rows share one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from tegu.core.errors import DataError

__all__ = ["Array", "Batch", "NumpyBatch", "full_batch", "stack_batches"]

Array: TypeAlias = NDArray[Any]
T = TypeVar("T")


class Batch(NamedTuple, Generic[T]):
    """Rows of one user (leading axis: rows) or of a cohort (leading axes: users, rows).

    Generic over the array type, because numpy and torch share it.

    Attributes:
        x: inputs, `[rows, *spec.x.shape]`.
        y: targets, `[rows, *spec.y.shape]`.
        mask: float32 `[rows]`, the weight of each row: 1, 0 for padding, or between them (`recency`).
    """

    x: T
    y: T
    mask: T


NumpyBatch: TypeAlias = Batch[Array]


def full_batch(x: Array, y: Array) -> NumpyBatch:
    """A batch without padding."""
    return Batch(x, y, np.ones(len(x), np.float32))


def stack_batches(batches: Sequence[NumpyBatch], rows: int | None = None) -> NumpyBatch:
    """Users' batches as one, `[users, rows, ...]`, padded to `rows` rows each (by default the most that a user has).

    Raises:
        DataError: no users, or a user with more than `rows` rows.
    """
    if not batches:
        raise DataError("no users to stack: expected at least one")
    longest = max(len(batch.mask) for batch in batches)
    rows = longest if rows is None else rows
    if longest > rows:
        raise DataError(f"a user has {longest} rows, more than the requested {rows}: raise rows, or split the user")
    return Batch(*(_stacked(parts, rows) for parts in zip(*batches, strict=True)))


def _stacked(parts: Sequence[Array], rows: int) -> Array:
    """`[parts, rows, ...]`, each part followed by zeros. Written in place: padded copies take several times as long."""
    found = np.zeros((len(parts), rows, *parts[0].shape[1:]), parts[0].dtype)
    for into, part in zip(found, parts, strict=True):
        into[: len(part)] = part
    return found
