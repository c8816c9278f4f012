"""Numbers as people write them: Python's or numpy's, of the right kind and in range."""

from __future__ import annotations

import math
import operator
from typing import Any

from tegu.core.errors import DataError

__all__ = ["real_number", "whole_number"]


def whole_number(name: str, value: Any, least: int | None = None) -> int:
    """`value` as an int; numpy's whole numbers are taken, fractions, booleans and text are not.

    Raises:
        DataError: another type, or less than `least`.
    """
    expected = "a whole number" if least is None else f"a whole number of at least {least}"
    try:
        found = None if _is_bool(value) else operator.index(value)
    except TypeError:
        found = None
    if found is None:
        raise DataError(f"{name} is {value!r} ({type(value).__name__}): expected {expected}")
    if least is not None and found < least:
        raise DataError(f"{name} is {found}: expected at least {least}")
    return found


def real_number(name: str, value: Any, least: float | None = None) -> float:
    """`value` as a float, or unchanged if it is an int; numpy's numbers are taken, booleans and text are not.

    Raises:
        DataError: another type, NaN, or less than `least`.
    """
    expected = "a number" if least is None else f"a number of at least {least}"
    try:
        found = None if _is_bool(value) or isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError):
        found = None
    if found is None:
        raise DataError(f"{name} is {value!r} ({type(value).__name__}): expected {expected}")
    if math.isnan(found) or (least is not None and found < least):
        raise DataError(f"{name} is {found:g}: expected {'a number' if least is None else f'at least {least}'}")
    return value if type(value) is int else found


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool) or type(value).__name__ in ("bool", "bool_")  # of numpy
