"""Single numbers that a user passes in: Python's or numpy's, but no booleans."""

from __future__ import annotations

import numbers

import numpy as np

__all__ = ["is_number", "is_whole"]


def is_number(value: object) -> bool:
    """Whether `value` is one real number."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)


def is_whole(value: object) -> bool:
    """Whether `value` is one integer, by type: 3 is, 3.0 is not."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool | np.bool_)
