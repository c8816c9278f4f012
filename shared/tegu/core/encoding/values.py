"""Raw cells as numbers, booleans, dates or words, with the gaps among them.

Cells come from data frames, lists, dictionaries or text files. Whatever their type, the same function reads them in
training and on the device.
"""

from __future__ import annotations

import datetime
import numbers
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.encoding.words import word
from tegu.core.errors import DataError

__all__ = ["ValueKind", "Values", "kind_of_cells", "raw_cells", "read_cells"]

ValueKind: TypeAlias = Literal["number", "boolean", "date", "word"]
_TRUE, _FALSE = frozenset({"true", "yes", "1"}), frozenset({"false", "no", "0"})
_GAPS = frozenset({"NAType", "NaTType"})  # of pandas, known by name: the device has no pandas
_MICROSECOND = np.timedelta64(1, "us")


class Values(NamedTuple):
    """The cells of one column.

    Attributes:
        array: numbers as int64, uint64 or float64; booleans as bool; dates as int64 microseconds since 1970, in UTC
            where they have a time zone; words as objects. Cells that are missing hold a placeholder.
        missing: bool `[rows]`.
    """

    array: Array
    missing: Array


def raw_cells(name: str, raw: object) -> Array:
    """A column as a numpy array of its own dtype, or of objects.

    Args:
        name: of the column, for messages.
        raw: a sequence, an array, or a column of a data frame (anything with `to_numpy`).

    Raises:
        DataError: it is not one value per row, or its values are of a kind that no column can have.
    """
    if hasattr(getattr(raw, "dtype", None), "tz"):  # pandas with a time zone; given a dtype, it converts to UTC
        raw = raw.to_numpy(dtype="datetime64[us]")  # type: ignore[attr-defined] # a column of a data frame
    found = raw.to_numpy() if hasattr(raw, "to_numpy") else raw
    if not isinstance(found, np.ndarray):
        found = _of_sequence(found)
    if found.ndim != 1:
        raise DataError(f"column {name} has shape {found.shape}: expected one value per row; spread it over columns")
    if found.dtype.kind not in "biufMmUO":
        raise DataError(f"column {name} has dtype {found.dtype}: expected numbers, booleans, dates or words; drop it")
    return found


def _of_sequence(values: object) -> Array:
    """A list as an array; numpy would turn numbers beside text into text."""
    cells = list(values)  # type: ignore[call-overload] # a caller's sequence of any type
    found = np.empty(len(cells), object)
    found[:] = cells
    return found


def kind_of_cells(name: str, cells: Array) -> ValueKind:
    """What a column of raw cells holds.

    Raises:
        DataError: it holds gaps alone, objects that are neither numbers, booleans, dates nor words, or mixes of these.
    """
    by_dtype: dict[str, ValueKind] = {"b": "boolean", "M": "date", "U": "word"}
    if cells.dtype.kind != "O":
        return by_dtype.get(cells.dtype.kind, "number")
    kinds = {type(cell): cell for cell in cells if not _is_gap(cell)}
    found = {_kind_of(name, cell) for cell in kinds.values()}
    if not found:
        raise DataError(f"column {name} holds gaps alone: leave it out")
    if found == {"number", "boolean"}:
        return "number"
    if len(found) > 1:
        raise DataError(
            f"column {name} mixes {' and '.join(sorted(found))}s: give all rows values of one kind, or name it in "
            "categories"
        )
    return found.pop()


def _kind_of(name: str, cell: object) -> ValueKind:
    if isinstance(cell, bool | np.bool_):
        return "boolean"
    if isinstance(cell, numbers.Real | np.number | datetime.timedelta | np.timedelta64) or _is_decimal(cell):
        return "number"
    if isinstance(cell, datetime.date | np.datetime64):
        return "date"
    if isinstance(cell, str):
        return "word"
    raise DataError(
        f"column {name} holds a {type(cell).__name__}: expected numbers, booleans, dates or words; "
        "spread it over columns or leave it out"
    )


def _is_decimal(cell: object) -> bool:
    return type(cell).__name__ == "Decimal" and hasattr(cell, "is_finite")


def _is_gap(cell: object) -> bool:
    if cell is None or type(cell).__name__ in _GAPS:
        return True
    if isinstance(cell, np.datetime64 | np.timedelta64):
        return bool(np.isnat(cell))
    if isinstance(cell, float | np.floating) or _is_decimal(cell):
        return bool(cell != cell)  # noqa: PLR0124 # NaN alone differs from itself
    return False


def read_cells(name: str, cells: Array, kind: ValueKind) -> Values:
    """The cells as values of one kind. Text is read as that kind, since text files hold text alone.

    Raises:
        DataError: a cell is not of that kind, or a number is infinite.
    """
    if kind == "number":
        return _numbers(name, cells)
    if kind == "boolean" and cells.dtype.kind == "b":
        return Values(cells, np.zeros(len(cells), bool))
    if kind == "date" and cells.dtype.kind == "M":
        return Values(cells.astype("datetime64[us]").view(np.int64), np.isnat(cells))
    return _objects(name, cells, kind)


def _numbers(name: str, cells: Array) -> Values:
    if cells.dtype.kind == "O":
        found = _objects(name, cells, "number")
        plain = found.array.tolist()
        whole = all(type(cell) is int for cell in plain)
        return _finite(name, _integers(plain) if whole else np.asarray(plain, np.float64), found.missing)
    if cells.dtype.kind == "m":
        absent = np.isnat(cells)
        seconds = np.where(absent, 0, cells.astype("timedelta64[us]").astype(np.int64)) / 1e6
        return Values(seconds, absent)
    if cells.dtype.kind in "biu":
        return Values(cells.astype(np.uint64 if cells.dtype == np.uint64 else np.int64), np.zeros(len(cells), bool))
    if cells.dtype.kind == "f":
        return _finite(name, cells.astype(np.float64), np.isnan(cells))
    return _numbers(name, _of_sequence(cells))


def _integers(cells: Sequence[int]) -> Array:
    try:
        return np.asarray(cells, np.int64)
    except OverflowError:
        pass
    try:
        return np.asarray(cells, np.uint64)
    except OverflowError:
        return np.asarray(cells, np.float64)


def _finite(name: str, array: Array, missing: Array) -> Values:
    if np.isinf(array).any():
        row = int(np.flatnonzero(np.isinf(array))[0])
        raise DataError(f"column {name} is infinite in row {row}: give a finite number, or leave the cell empty")
    return Values(np.where(missing, np.asarray(0, array.dtype), array), missing)


def _objects(name: str, cells: Array, kind: ValueKind) -> Values:
    plain = cells if cells.dtype.kind not in "Mm" else _of_sequence(cells)  # as objects, numpy would make them integers
    missing = np.fromiter((_is_gap(cell) for cell in plain), bool, len(plain))
    read, placeholder = _READERS[kind]
    found = np.empty(len(plain), object)
    for row, cell in enumerate(plain):
        try:
            found[row] = placeholder if missing[row] else read(cell)
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError(f"column {name} holds {_brief(cell)} in row {row}: expected a {kind} ({error})") from error
    return Values(found.astype(_DTYPES[kind]), missing)


def _brief(cell: object) -> str:
    text = repr(cell)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _number(cell: Any) -> int | float:
    if isinstance(cell, datetime.timedelta):
        return cell.total_seconds()
    if isinstance(cell, np.timedelta64):
        return float(cell / _MICROSECOND) / 1e6
    if isinstance(cell, str):
        text = cell.strip()
        return int(text) if text.lstrip("+-").isdecimal() else _not_nan(float(text))
    if isinstance(cell, datetime.date | np.datetime64) or not hasattr(cell, "__float__"):
        raise TypeError(f"it is a {type(cell).__name__}")
    return int(cell) if isinstance(cell, numbers.Integral) else float(cell)


def _not_nan(number: float) -> float:
    if number != number:  # noqa: PLR0124 # NaN alone differs from itself
        raise ValueError("leave the cell empty where there is no number")
    return number


def _boolean(cell: Any) -> bool:
    if isinstance(cell, str):
        lowered = cell.strip().lower()
        if lowered in _TRUE | _FALSE:
            return lowered in _TRUE
    elif isinstance(cell, bool | np.bool_ | numbers.Real) and cell in (0, 1):
        return bool(cell)
    raise ValueError("true or false, yes or no, 1 or 0")


def _date(cell: Any) -> int:
    if isinstance(cell, str):
        cell = datetime.datetime.fromisoformat(cell.strip())
    if isinstance(cell, datetime.datetime) and cell.tzinfo is not None:
        cell = cell.astimezone(datetime.UTC).replace(tzinfo=None)
    if not isinstance(cell, datetime.date | np.datetime64):
        raise TypeError("a date, or text such as 2024-03-01 or 2024-03-01T09:30")
    return int(np.asarray(cell, "datetime64[us]").astype(np.int64))


_READERS: dict[ValueKind, tuple[Callable[[Any], object], object]] = {
    "number": (_number, 0),
    "boolean": (_boolean, False),
    "date": (_date, 0),
    "word": (word, ""),
}
_DTYPES: dict[ValueKind, type] = {"number": object, "boolean": bool, "date": np.int64, "word": object}
