"""Groups and orders of rows, given as numbers, dates or words, encoded as integers."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tegu.core.data.batch import Array
from tegu.core.errors import DataError

__all__ = ["ordinal_codes"]


def ordinal_codes(name: str, values: ArrayLike, rows: int) -> Array:
    """Ranks of the distinct values, int64 `[rows]`: equal values get equal codes, in ascending order.

    Args:
        name: of the values, for error messages.
        values: `[rows]` of numbers, dates or words.
        rows: expected number of values.

    Raises:
        DataError: the number of values differs, a value is NaN, or values cannot be sorted.
    """
    found = np.asarray(values)
    if found.shape != (rows,):
        raise DataError(f"{name} has shape {found.shape}: expected one entry per row, ({rows},)")
    try:
        absent = bool((found != found).any())  # noqa: PLR0124 # NaN alone differs from itself
        ranks = np.unique(found, return_inverse=True)[1]
    except TypeError as error:
        raise DataError(
            f"{name} holds entries that cannot be sorted ({error}): give all rows entries of one type"
        ) from error
    if absent:
        raise DataError(f"{name} is NaN in some row: give every row an entry, or drop the row")
    return ranks.astype(np.int64)
