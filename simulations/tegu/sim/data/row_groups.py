"""Rows grouped by user, each user's rows one after the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tegu.core.data.batch import Array
from tegu.core.errors import DataError

__all__ = ["given_order", "group_by_user", "row_indices"]


def given_order(order: ArrayLike | bool | None, rows: int) -> ArrayLike | None:
    """The time of each row: `order` itself, the rows' positions for True, and None for no order."""
    if isinstance(order, bool | np.bool_):
        return np.arange(rows) if order else None
    return order


def row_indices(begins: Array, counts: Array) -> Array:
    """int64 `[rows]`, indices of users' rows, one user after the other."""
    return np.repeat(begins - np.cumsum(counts) + counts, counts) + np.arange(int(counts.sum()))


def group_by_user(names: Array) -> tuple[Array, Array, Array]:
    """Names in ascending order, rows of each, and the permutation of rows that groups them by user.

    Args:
        names: `[rows]`, the name of each row's user.

    Raises:
        DataError: a name is NaN, or names cannot be sorted.
    """
    try:
        absent = bool((names != names).any())  # noqa: PLR0124 # NaN alone differs from itself
        order = np.argsort(names, kind="stable")
    except TypeError as error:
        raise DataError(f"user has entries that cannot be sorted ({error}): give every row a name") from error
    if absent:
        raise DataError("user is NaN in at least one row: give every row a name, or drop the row")
    return *np.unique(names, return_counts=True), order
