"""Stored interactions for a bundle whose catalogue, or whose labels, differ from those they were observed with.

An item keeps its id from bundle to bundle, not its position. A bundle without item ids has the positions as ids. The
same holds for labels and classes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tegu.client.store.reading import StoredRows
from tegu.core.bundle.manifest import Manifest
from tegu.core.data.batch import Array, NumpyBatch, full_batch
from tegu.core.data.spec import Field
from tegu.core.encoding.words import Word, lookup, words_array

__all__ = ["Catalogue", "catalogue_of", "words_of_codes"]

_ABSENT = -1


@dataclass(frozen=True, repr=False)
class Catalogue:
    """What the items and classes of one bundle are called.

    Attributes:
        x: the layout of inputs.
        y: the layout of targets.
        items: the id of each item; empty where positions are ids.
        labels: the label of each class; empty where classes are labels.
    """

    x: Field
    y: Field
    items: Sequence[Word]
    labels: Sequence[Word]

    def __repr__(self) -> str:
        return f"Catalogue({len(self.items)} item ids, {len(self.labels)} labels)"

    def names(self, x: Array, y: Array) -> tuple[list[str] | None, list[str] | None]:
        """The item ids and the labels of rows as JSON, to be stored with them; None where there are none."""
        return _names(self.items, x), _names(self.labels, y)

    def usable(self, stored: StoredRows) -> NumpyBatch:
        """The interactions whose items and labels the bundle has, with its own positions and classes."""
        x = _codes(self.x, self.items, stored.x, [row.item for row in stored.rows])
        y = _codes(self.y, self.labels, stored.y, [row.label for row in stored.rows])
        known = _known(self.x, x) & _known(self.y, y)
        return full_batch(x[known], y[known])


def catalogue_of(manifest: Manifest) -> Catalogue:
    """The catalogue of a bundle."""
    spec, encoding = manifest.spec, manifest.encoding
    items = encoding.items if encoding is not None and not spec.x.shape else ()
    labels = encoding.labels if encoding is not None and not spec.y.shape else ()
    return Catalogue(spec.x, spec.y, items, labels)


def words_of_codes(codes: Array, names: Sequence[str | None]) -> Array:
    """Stored codes in the application's own words.

    Args:
        codes: `[rows, ...]`.
        names: of each row as JSON; None where it has none.

    Returns:
        The names `[rows]` where there are any, otherwise `codes`.
    """
    if all(name is None for name in names):
        return codes
    return words_array([int(code) if name is None else _word(name) for code, name in zip(codes, names, strict=True)])


def _names(words: Sequence[Word], codes: Array) -> list[str] | None:
    return [json.dumps(words[code]) for code in codes] if words else None


def _codes(field: Field, words: Sequence[Word], codes: Array, names: Sequence[str | None]) -> Array:
    if not words and all(name is None for name in names):
        return codes
    positions: Mapping[object, int] = lookup(words or range(field.size))
    given = (int(code) if name is None else _word(name) for code, name in zip(codes, names, strict=True))
    return np.fromiter((positions.get(word, _ABSENT) for word in given), np.int64, len(codes))


def _known(field: Field, codes: Array) -> Array:
    if not field.size:
        return np.ones(len(codes), bool)
    return np.asarray(((codes >= 0) & (codes < field.size)).all(tuple(range(1, codes.ndim))))


def _word(name: str) -> Word:
    word: Word = json.loads(name)
    return word
