"""One feature or target: what it is, and how its values become numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias, get_args

from tegu.core.encoding.words import Word, shown
from tegu.core.errors import DataError

__all__ = ["Column", "ColumnKind", "column_from_dict", "date_of"]

ColumnKind: TypeAlias = Literal["number", "boolean", "date", "category", "id"]
_EPOCH = datetime(1970, 1, 1)  # dates are in UTC or have no zone; see `values`
_TIMES = {86_400_000_000: "days", 3_600_000_000: "hours", 60_000_000: "minutes", 1_000_000: "seconds"}


@dataclass(frozen=True, repr=False)
class Column:
    """How a raw column becomes one or several numbers of a row.

    A number, boolean or date becomes `(value - origin) / unit`. A category becomes one number for each level, 1 where
    the value is that level (one-hot); a value that is no level is all zeros. An id becomes the position of its level,
    counted from 1; 0 is a value that is no level.

    A gap becomes `gap`, and a further number that is 1 for a gap and 0 otherwise. The number is there only if the
    training data had gaps in this column; without, a gap is refused. An id has a further position instead, the last.

    Attributes:
        name: of the raw column.
        kind: what the column holds.
        levels: of a category or an id, in a fixed order.
        origin: subtracted from numbers; from dates in microseconds since 1970.
        unit: that numbers are divided by after that; of dates in microseconds.
        gap: the encoded value of a gap; None where the training data had no gaps.
        whole: all values were whole numbers.
    """

    name: str
    kind: ColumnKind
    levels: tuple[Word, ...] = ()
    origin: int | float = 0
    unit: int | float = 1
    gap: float | None = None
    whole: bool = False

    def __post_init__(self) -> None:
        if self.kind not in get_args(ColumnKind):
            raise DataError(f"column {self.name} is a {self.kind!r}: expected one of {', '.join(get_args(ColumnKind))}")
        if not self.unit > 0:
            raise DataError(f"column {self.name} has the unit {self.unit}: expected a number above 0")
        if (self.kind in ("category", "id")) != bool(self.levels):
            raise DataError(
                f"column {self.name} is a {self.kind} with {len(self.levels)} levels: expected levels for "
                "categories and ids alone"
            )

    def __repr__(self) -> str:
        return f"Column({self.describe()!r})"

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each number that the column becomes."""
        own = tuple(f"{self.name}={level}" for level in self.levels) if self.kind == "category" else (self.name,)
        return own if self.gap is None or self.kind == "id" else (*own, f"{self.name} is missing")

    @property
    def size(self) -> int:
        """Of an id: the encoded values are less than it. Otherwise 0."""
        return 0 if self.kind != "id" else 1 + len(self.levels) + (self.gap is not None)

    @property
    def shifted(self) -> bool:
        """Whether encoded values differ from raw ones although each is one number."""
        return self.kind in ("number", "date") and (self.origin, self.unit) != (0, 1)

    def describe(self) -> str:
        """What the column is, in one clause."""
        gaps = "" if self.gap is None else self._describe_gap()
        return f"{self.name} is {self._describe_kind()}{gaps}"

    def _describe_kind(self) -> str:
        if self.kind == "category":
            return f"a category with {len(self.levels)} levels ({shown(self.levels)}), one number for each"
        if self.kind == "id":
            return f"an id for an embedding of {self.size} rows ({shown(self.levels)})"
        if self.kind == "date":
            unit = _TIMES.get(int(self.unit), f"{self.unit / 1e6:g} seconds")
            return f"a date, in {unit} since {date_of(int(self.origin))}"
        if self.kind == "number" and self.shifted:
            return f"a number, less {self.origin:.15g} and in units of {self.unit:g}"
        return f"a {self.kind}"

    def _describe_gap(self) -> str:
        if self.kind == "category":
            return "; a gap has a number of its own"
        if self.kind == "id":
            return f"; a gap is the id {self.size - 1}"
        return f"; a gap becomes {self.gap:g}, the training data's median, with a further number that marks it"


def date_of(microseconds: int) -> str:
    """A date in ISO format; the time is left out where it is midnight."""
    found = (_EPOCH + timedelta(microseconds=microseconds)).isoformat()
    return found.removesuffix("T00:00:00")


def column_from_dict(body: Mapping[str, Any]) -> Column:
    """A column from the fields of `Column`, as JSON gives them.

    Raises:
        TypeError: a field is absent, unknown or of the wrong type.
        DataError: a value is not valid in a column.
    """
    expected = asdict(Column("", "number"))
    if not isinstance(body, dict) or body.keys() != expected.keys():
        raise TypeError(f"expected a column with {', '.join(expected)}")
    numeric = [body["origin"], body["unit"], 0.0 if body["gap"] is None else body["gap"]]
    if any(isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value) for value in numeric):
        raise TypeError(f"expected numbers for origin, unit and gap, found {numeric}")
    if not isinstance(body["name"], str) or not isinstance(body["kind"], str) or not isinstance(body["whole"], bool):
        raise TypeError(f"expected text for name and kind and a boolean for whole in {list(body.values())[:2]}")
    return Column(**{**body, "levels": words_from_list(body["levels"])})


def _is_finite(value: int | float) -> bool:
    return isinstance(value, int) or math.isfinite(value)


def words_from_list(body: object) -> tuple[Word, ...]:
    """Words from a JSON list.

    Raises:
        TypeError: it is not a list of text, numbers and booleans.
    """
    if not isinstance(body, list) or not all(isinstance(entry, str | int | float | bool) for entry in body):
        raise TypeError("expected a list of text, numbers and booleans")
    return tuple(body)
