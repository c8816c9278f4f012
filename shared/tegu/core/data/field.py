"""The layout of one row of an input or a target, and the check that rows have it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike

from tegu.core.data.arrays import as_array, check_numbers
from tegu.core.data.batch import Array
from tegu.core.errors import DataError

__all__ = ["MAX_EXACT_ID", "DType", "Field", "booleans", "check_field", "check_values", "ids", "reals"]

DType: TypeAlias = Literal["float32", "int64", "bool"]
_SHOWN_IDS = 6  # in a representation; a row of tokens has hundreds
MAX_EXACT_ID = 1 << 24  # float32 holds every whole number up to here


class Field(NamedTuple):
    """One row of an input or a target.

    Attributes:
        shape: without the leading axis of rows; `()` is one scalar per row.
        dtype: `"float32"`, `"int64"` for ids and labels, or `"bool"` for a named input that is a mask.
        size: ids and labels lie in `[0, size)`; 0 means unbounded.
        ids: (position, size) pairs, in ascending order, for a float32 row with one axis. Such a position holds whole
            numbers in `[0, size)`, which are exact because `size` is at most 2**24.
    """

    shape: tuple[int, ...]
    dtype: DType
    size: int = 0
    ids: tuple[tuple[int, int], ...] = ()

    def __repr__(self) -> str:
        shown = self.ids if len(self.ids) <= _SHOWN_IDS else f"<{len(self.ids)} of them>"
        ids = f", ids={shown}" if self.ids else ""
        return f"Field(shape={self.shape}, dtype={self.dtype!r}, size={self.size}{ids})"


def reals(*shape: int) -> Field:
    """An input of real numbers with this shape per row, such as `reals(3, 32, 32)`; `reals()` is one number."""
    return Field(shape, "float32")


def ids(size: int, *shape: int) -> Field:
    """An input of whole numbers in `[0, size)`, such as `ids(5000, 20)` for 20 tokens; `ids(7)` is one id."""
    return Field(shape, "int64", size)


def booleans(*shape: int) -> Field:
    """An input of true and false, such as `booleans(20)` for the mask of 20 tokens."""
    return Field(shape, "bool")


def check_field(name: str, field: Field) -> None:
    """Check a field itself.

    Raises:
        DataError: it has an unknown dtype, a size or a length below 1, or ids outside its row.
    """
    if field.dtype not in get_args(DType):
        raise DataError(f"{name} has dtype {field.dtype!r}: expected float32 or int64")
    if any(size < 1 for size in field.shape) or field.size < 0:
        raise DataError(f"{name} has shape {field.shape} and size {field.size}: expected positive numbers")
    if not field.ids:
        return
    if field.dtype != "float32" or len(field.shape) != 1:
        raise DataError(
            f"{name} is {field.dtype} of shape {field.shape} and some of its positions hold ids: expected a float32 "
            "row with one axis; give several inputs names to mix other shapes"
        )
    positions = [position for position, _ in field.ids]
    if positions != sorted(set(positions)) or positions[0] < 0 or positions[-1] >= field.shape[0]:
        raise DataError(f"{name} has ids at {positions}: expected different positions from 0 to {field.shape[0] - 1}")
    for position, size in field.ids:
        if not 1 <= size <= MAX_EXACT_ID:
            raise DataError(
                f"the ids at position {position} of {name} have size {size}: expected 1 to {MAX_EXACT_ID}, the whole "
                "numbers that float32 holds; map larger ids to codes from 0"
            )


def sorted_ids(given: Mapping[int, int] | None) -> tuple[tuple[int, int], ...]:
    """`Field.ids` from a mapping of position to size."""
    return tuple(sorted((given or {}).items()))


def check_values(name: str, field: Field, value: ArrayLike) -> Array:
    """Checked rows, `[rows, *field.shape]` of `field.dtype`.

    Args:
        name: of the rows, for error messages.
        field: their layout.
        value: rows first.

    Raises:
        DataError: wrong shape or dtype, NaN, infinite, or an id out of range.
    """
    array = as_array(name, value)
    _check_layout(name, field, array)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0][0])
        raise DataError(f"{name} is NaN or infinite in row {row}: expected finite numbers; drop or impute that row")
    size = 2 if field.dtype == "bool" else field.size
    if size and array.size and (array.min() < 0 or array.max() >= size):
        worst = int(array.min()) if array.min() < 0 else int(array.max())
        raise DataError(f"{name} holds the id {worst}: expected ids from 0 to {size - 1}")
    if field.ids:
        _check_ids(name, field, array)
    with np.errstate(over="ignore"):
        converted = np.ascontiguousarray(array, dtype=field.dtype)
    if field.dtype == "float32" and not np.isfinite(converted).all():
        worst = array.flat[np.abs(array).argmax()]
        raise DataError(f"{name} holds {worst}, beyond float32's range: rescale it")
    return converted


def _check_layout(name: str, field: Field, array: Array) -> None:
    check_numbers(name, array)
    if array.ndim != 1 + len(field.shape) or array.shape[1:] != field.shape:
        expected = ", ".join(map(str, ("rows", *field.shape)))
        raise DataError(f"{name} has shape {array.shape}: expected ({expected})")
    if field.dtype != "float32" and array.dtype.kind == "f":
        raise DataError(f"{name} has dtype {array.dtype}: expected integers ({field.dtype})")


def _check_ids(name: str, field: Field, rows: Array) -> None:
    positions, sizes = np.asarray(field.ids).T
    values = rows[:, positions]
    wrong = (values < 0) | (values >= sizes) | (values != np.floor(values))
    if wrong.any():
        row, at = np.argwhere(wrong)[0]
        raise DataError(
            f"{name} holds {values[row, at]} in row {row}, column {positions[at]}: that column holds ids, so expected "
            f"a whole number from 0 to {sizes[at] - 1}"
        )


def positions_in(field: Field) -> int:
    """The number of positions that one row of `field` takes when it is flattened."""
    return math.prod(field.shape)
