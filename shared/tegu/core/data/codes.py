"""Groups and orders of rows, which may be numbers, dates or words, as whole numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tegu.core.data.batch import Array
from tegu.core.errors import DataError

__all__ = ["ordinal_codes"]


def ordinal_codes(name: str, values: ArrayLike, rows: int) -> Array:
    """int64 `[rows]`, as different and in the same order as the values: numbers, dates or words.

    Args:
        name: what they are, for errors.
        values: `[rows]`.
        rows: how many there have to be.

    Raises:
        DataError: another number of values, one that is absent, or some that cannot be sorted.
    """
    found = np.asarray(values)
    if found.shape != (rows,):
        raise DataError(f"{name} has shape {found.shape}: expected one entry a row, ({rows},)")
    try:
        absent = bool((found != found).any())  # noqa: PLR0124 # NaN alone differs from itself
        ranks = np.unique(found, return_inverse=True)[1]
    except TypeError as error:
        raise DataError(
            f"{name} holds entries that cannot be sorted ({error}): give every row one of a kind"
        ) from error
    if absent:
        raise DataError(f"{name} is NaN in some row: give every row an entry, or drop it")
    return ranks.astype(np.int64)
