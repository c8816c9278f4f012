"""The ids of interactions: an application's own, or the store's for interactions without one."""

from __future__ import annotations

import numbers
import reprlib
from collections.abc import Iterable

import numpy as np

from tegu.client.store.records import Row
from tegu.core.errors import DataError

__all__ = ["Ids", "checked_ids", "checked_new_ids", "id_of", "number_of"]

Ids = str | int | Iterable[str | int]

_AUTOMATIC = "auto:"


def checked_ids(ids: object) -> list[str]:
    """Ids as text; a whole number counts as its decimal text.

    Raises:
        DataError: an id is neither a text nor a whole number, is empty, or cannot be stored.
    """
    if isinstance(ids, str | numbers.Integral):
        return [_text(ids)]
    if isinstance(ids, bytes) or not isinstance(ids, Iterable) or (isinstance(ids, np.ndarray) and not ids.ndim):
        raise DataError(f"ids is {reprlib.repr(ids)}: expected one id, or a list with one for each interaction")
    return [*map(_text, ids)]


def checked_new_ids(ids: object, rows: int) -> list[str]:
    """The ids of `rows` new interactions.

    Raises:
        DataError: as `checked_ids`; the numbers of ids and rows differ, or an id looks like one of the store's.
    """
    texts = checked_ids(ids)
    if len(texts) != rows:
        raise DataError(f"there are {len(texts)} ids for {rows} interactions: expected one id for each")
    reserved = next((text for text in texts if text.startswith(_AUTOMATIC)), None)
    if reserved is not None:
        raise DataError(f"the id {reserved!r} begins with {_AUTOMATIC!r}, as the store's own do: choose another")
    return texts


def id_of(row: Row) -> str:
    """The id by which an application knows a stored row."""
    return f"{_AUTOMATIC}{row.number}" if row.id is None else row.id


def number_of(text: str) -> int | None:
    """The number of the row with this id of the store's own; None for an application's id."""
    digits = text.removeprefix(_AUTOMATIC)
    return int(digits) if digits != text and digits.isascii() and digits.isdigit() and len(digits) < 19 else None


def _text(value: object) -> str:
    if isinstance(value, bool | np.bool_) or not isinstance(value, str | numbers.Integral):
        raise DataError(f"an id is {reprlib.repr(value)}: expected a text or a whole number")
    text = str(value) if isinstance(value, str) else str(int(value))
    if not text or not text.isprintable():
        raise DataError(f"an id is {text!r}: expected at least one character, and printable ones only")
    return text
