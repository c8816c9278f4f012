"""What a column is and how it is encoded, from the training data. The order of rows has no influence."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Literal, TypeAlias

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.encoding.column import Column
from tegu.core.encoding.rows import scaled
from tegu.core.encoding.values import Values, kind_of_cells, raw_cells, read_cells
from tegu.core.encoding.words import known_words
from tegu.core.errors import DataError

__all__ = ["MOST_LEVELS", "Role", "fit_column"]

Role: TypeAlias = Literal["category", "id"]
MOST_LEVELS = 256  # of a category; more would give rows that are mostly zeros
_FEW_LEVELS = 20  # may be a category in a small table, even if they do not recur
_TIMES = (86_400_000_000, 3_600_000_000, 60_000_000, 1_000_000)  # a day, hour, minute and second in microseconds
_NUMBER = re.compile(r"^\s*[+-]?\d*[.,]?\d+\s*$")
_DATE = re.compile(r"\s*\d{4}-\d\d-\d\d([T ]|\s*$)")
_LOST = 0.01  # share of distinct real numbers that float32 may merge, as it does in any large sample


def fit_column(name: str, raw: object, role: Role | None = None) -> Column:
    """The encoding of a column.

    Words become a category, and so does a pandas or polars column of a categorical type; but words that are all dates,
    written as 2024-03-01 or with a time, are dates. Numbers, booleans and dates
    stay what they are. An origin and a unit are taken out of dates, and of numbers of which float32 would merge
    distinct values.

    Args:
        name: of the column.
        raw: its cells, `[rows]`.
        role: what to make of its distinct values; None to follow from what they are.

    Raises:
        DataError: the column is empty, holds gaps alone, mixes kinds, holds lists, other objects, mostly decimal
            numbers as text or texts that hardly recur, or is a category with more than `MOST_LEVELS` levels.
    """
    cells = raw_cells(name, raw)
    kind = "word" if role is not None or _is_categorical(raw) else kind_of_cells(name, cells)
    if kind == "word" and role is None and not _is_categorical(raw) and _are_dates(cells):
        kind = "date"
    if kind == "word":
        guessed = role is None and not _is_categorical(raw)
        if guessed:
            _refuse_numbers_in_words(name, cells)
        column = _fit_words(name, cells, role or "category")
        if guessed:
            _refuse_free_text(name, len(column.levels), len(cells))
        return column
    values = read_cells(name, cells, kind)
    present = values.array[~values.missing]
    if not len(present):
        raise DataError(f"column {name} holds gaps alone: leave it out")
    if kind == "boolean":
        return Column(name, "boolean", gap=_gap(values, lambda found: found.astype(np.float64)))
    origin, unit = _date_origin(present) if kind == "date" else _number_origin(present)
    gap = _gap(values, lambda found: scaled(found, origin, unit))
    column_kind: Literal["date", "number"] = "date" if kind == "date" else "number"
    whole = kind == "number" and present.dtype.kind in "iu"
    return Column(name, column_kind, origin=origin, unit=unit, gap=gap, whole=whole)


def _is_categorical(raw: object) -> bool:
    return str(getattr(raw, "dtype", "")).split("(")[0].lower() in ("category", "categorical", "enum")


def _are_dates(cells: Array) -> bool:
    """Whether all words are dates in ISO format, as text files hold them."""
    present = [cell for cell in cells.tolist() if isinstance(cell, str)]
    return all(map(_DATE.match, present)) and all(map(_is_date, present))


def _refuse_numbers_in_words(name: str, cells: Array) -> None:
    """Raise an error if most words are decimal numbers. Whole numbers in words may be codes, such as postal ones."""
    present = [cell for cell in cells.tolist() if isinstance(cell, str)]
    found = [cell for cell in present if _NUMBER.match(cell)]
    if 2 * len(found) > len(present) and any(not cell.strip().lstrip("+-").isdigit() for cell in found):
        other = next((cell for cell in present if not _NUMBER.match(cell)), None)
        beside = "" if other is None else f", beside {other!r}"
        fix = "convert it to numbers" if other is None else "leave such cells empty and convert the rest to numbers"
        raise DataError(
            f"column {name} holds numbers as text, such as {found[0]!r}{beside}: {fix} (pandas.read_csv has "
            "decimal=',' and na_values=), or name it in categories if each is a name"
        )


def _refuse_free_text(name: str, levels: int, rows: int) -> None:
    """Raise an error if most rows have words of their own, which tell nothing of any other row."""
    if levels > _FEW_LEVELS and 2 * levels > rows:
        raise DataError(
            f"column {name} has {levels} different texts in {rows} rows, as names and free text have: leave it out, or "
            "name it in categories if each is a level"
        )


def _is_date(text: str) -> bool:
    try:
        datetime.fromisoformat(text.strip())
    except ValueError:
        return False
    return True


def _fit_words(name: str, cells: Array, role: Role) -> Column:
    values = read_cells(name, cells, "word")
    levels = known_words(values.array[~values.missing])
    if not levels:
        raise DataError(f"column {name} holds gaps alone: leave it out")
    if role == "category" and len(levels) > MOST_LEVELS:
        raise DataError(
            f"column {name} has {len(levels)} levels, more than {MOST_LEVELS}: name it in ids, for a model that reads "
            f"that position by nn.Embedding({len(levels) + 1 + int(values.missing.any())}, ...); or group rare levels, "
            "or leave it out"
        )
    return Column(name, role, levels, gap=0.0 if values.missing.any() else None)


def _gap(values: Values, encode: Callable[[Array], Array]) -> float | None:
    """The median of the encoded values, where there are gaps."""
    return float(np.median(encode(values.array[~values.missing]))) if values.missing.any() else None


def _date_origin(present: Array) -> tuple[int, int]:
    """The middle date, rounded down to the unit; and the largest unit that most dates differ by."""
    low, high = int(present.min()), int(present.max())
    unit = next((time for time in _TIMES if time <= (high - low) / 2), _TIMES[-1] if high > low else _TIMES[0])
    return (low + high) // 2 // unit * unit, unit


def _number_origin(present: Array) -> tuple[int | float, int | float]:
    """(0, 1) where float32 keeps values apart; otherwise the middle, and a power of ten near half the range."""
    plain, distinct = len(np.unique(present.astype(np.float32))), len(np.unique(present))
    whole = present.dtype.kind in "iu"
    if plain == distinct:
        return 0, 1
    low, high = (int if whole else float)(present.min()), (int if whole else float)(present.max())
    origin = (low + high) // 2 if whole else low + (high - low) / 2
    unit = (
        10 ** max(0, len(str(int((high - low) / 2))) - 1)
        if whole
        else float(10.0 ** np.floor(np.log10((high - low) / 2)))
    )
    kept = len(np.unique(scaled(present, origin, unit)))
    return (origin, unit) if kept - plain > (0 if whole else _LOST * distinct) else (0, 1)
