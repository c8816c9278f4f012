"""Labels and item ids as codes from 0, and the words that they stand for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from tegu.core.data.batch import Array
from tegu.core.encoding.values import raw_cells, read_cells
from tegu.core.encoding.words import Word, codes_of, known_words, lookup, unknown_word
from tegu.core.errors import DataError

__all__ = ["encode_items", "encode_labels", "find_words"]


def encode_labels(y: ArrayLike) -> tuple[Array, tuple[Word, ...]]:
    """Labels as classes, counted from 0.

    Args:
        y: `[rows]` of text, booleans or whole numbers; a column of a data frame will do.

    Returns:
        int64 classes, and the label of each class in a fixed order: numbers ascending, then text. No
        labels where `y` are classes already: whole numbers from 0, at least half of which occur.

    Raises:
        DataError: a label is missing, or is a number with a fraction.
    """
    return _encode("y", "label", y)


def encode_items(x: ArrayLike) -> tuple[Array, tuple[Word, ...]]:
    """Item ids as positions in a catalogue; as `encode_labels`, for `[rows]` of text or of whole numbers of any size.

    Raises:
        DataError: an id is missing, or is a number with a fraction.
    """
    return _encode("x", "item", x)


def _encode(name: str, kind: str, values: object) -> tuple[Array, tuple[Word, ...]]:
    codes, words = _distinct(name, kind, raw_cells(name, values))
    whole = all(type(known) is int for known in words)
    if whole and words and words[0] == 0 and int(words[-1]) < 2 * len(words):
        return np.asarray(words, np.int64)[codes], ()
    return codes, words


def _distinct(name: str, kind: str, cells: Array) -> tuple[Array, tuple[Word, ...]]:
    if cells.dtype.kind in "iu":  # as below, but fast
        distinct, codes = np.unique(cells, return_inverse=True)
        return codes.astype(np.int64), tuple(distinct.tolist())
    found = read_cells(name, cells, "word")
    if found.missing.any():
        row = int(np.flatnonzero(found.missing)[0])
        raise DataError(f"{name} has no {kind} in row {row}: give every row a {kind}, or drop that row")
    words = known_words(found.array)
    fraction = next((known for known in words if isinstance(known, float)), None)
    if fraction is not None:
        raise DataError(f"{name} holds {fraction}: expected {kind}s as text, booleans or whole numbers")
    return codes_of(lookup(words), found.array), words


def find_words(kind: str, known: Mapping[object, int], values: object) -> Array:
    """int64 positions of values among known words.

    Args:
        kind: what the words are, for messages: "label" or "item".
        known: the result of `tegu.core.encoding.words.lookup`.
        values: `[rows]`.

    Raises:
        DataError: a value is no known word; the message names the nearest.
    """
    cells = read_cells(f"of {kind}s", raw_cells(f"of {kind}s", values), "word").array
    codes = codes_of(known, cells)
    if (codes < 0).any():
        raise unknown_word(kind, cells[codes < 0][0], list(known))
    return codes
