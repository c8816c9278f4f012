"""How a bundle's rows were made from the developer's table, as its manifest holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.encoding.column import Column, column_from_dict, words_from_list
from tegu.core.encoding.labels import find_words
from tegu.core.encoding.rows import encode_column
from tegu.core.encoding.tables import check_names
from tegu.core.encoding.words import Word, lookup, shown
from tegu.core.errors import DataError

__all__ = ["Encoding", "encoding_from_dict"]


@dataclass(frozen=True, repr=False)
class Encoding:
    """How raw columns, labels and item ids become rows. A part that is empty is not encoded.

    Attributes:
        columns: the features, in the order of a row.
        labels: the label of each class.
        items: the id of each item, at its position in the catalogue.
        titles: of the same items, for people.
        targets: the targets of a regression, in the order of a row.
        item: name of the raw column of items.
        label: name of the raw column of labels or of a ranking's weights.
    """

    columns: tuple[Column, ...] = ()
    labels: tuple[Word, ...] = ()
    items: tuple[Word, ...] = ()
    titles: tuple[str, ...] = ()
    targets: tuple[Column, ...] = ()
    item: str = ""
    label: str = ""

    def __post_init__(self) -> None:
        if self.titles and self.items and len(self.titles) != len(self.items):
            raise DataError(f"there are {len(self.titles)} titles for {len(self.items)} items: expected one for each")
        for kind, words in (("label", self.labels), ("item", self.items), ("column", [c.name for c in self.columns])):
            if len({(type(known) is bool, known) for known in words}) < len(words):
                raise DataError(f"a {kind} occurs twice: expected each once")

    def __repr__(self) -> str:
        parts = {
            "features": shown(self.features),
            "labels": shown(self.labels),
            "items": shown(self.items),
            "titles": shown(self.titles),
            "targets": shown([column.name for column in self.targets]),
        }
        return f"Encoding({', '.join(f'{name}=({words})' for name, words in parts.items() if words)})"

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each number of a row."""
        return tuple(name for column in self.columns for name in column.names)

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the raw columns of inputs."""
        return (self.item,) if self.item else tuple(column.name for column in self.columns)

    @property
    def answers(self) -> tuple[str, ...]:
        """The names of the raw columns of targets."""
        return (self.label,) if self.label else tuple(column.name for column in self.targets)

    @property
    def ids(self) -> tuple[tuple[int, int], ...]:
        """Position in a row and size of every column of ids; see `tegu.core.data.spec.Field`."""
        begins = np.cumsum([0, *(len(column.names) for column in self.columns)])
        return tuple(
            (int(begin), column.size) for begin, column in zip(begins, self.columns, strict=False) if column.size
        )

    def encode(self, columns: Mapping[str, Any], *, extra: bool = False) -> Array:
        """Rows of the model, float32 `[rows, len(names)]`.

        Args:
            columns: raw columns by name, in any order; see `tegu.core.encoding.tables.table_columns`.
            extra: other columns are ignored instead of refused.

        Raises:
            DataError: names are missing or unknown, or a cell does not fit its column.
        """
        check_names(columns, self.features, extra=extra)
        return _encoded(self.columns, columns)

    def values(self, columns: Mapping[str, Any]) -> Array:
        """Targets of a regression, float32 `[rows, targets]`.

        Args:
            columns: raw columns by name, in any order.

        Raises:
            DataError: as `encode`.
        """
        check_names(columns, [column.name for column in self.targets])
        return _encoded(self.targets, columns)

    def classes(self, labels: object) -> Array:
        """int64 classes of labels `[rows]`.

        Raises:
            DataError: a label is not known; the message names the nearest known ones.
        """
        return find_words("label", lookup(self.labels), labels)

    def positions(self, items: object) -> Array:
        """int64 positions of items `[rows]` in the catalogue, given by id or by a title that only one item has.

        Raises:
            DataError: an item is not known; the message names the nearest known ones.
        """
        return find_words("item", self._catalogue, items)

    @cached_property
    def _catalogue(self) -> Mapping[object, int]:
        return lookup(self.items or range(len(self.titles)), self.titles)

    def to_dict(self) -> dict[str, Any]:
        """The encoding as JSON-compatible values."""
        return asdict(self)


def _encoded(encodings: Sequence[Column], columns: Mapping[str, Any]) -> Array:
    return np.concatenate([encode_column(column, columns[column.name]) for column in encodings], 1)


def encoding_from_dict(body: object) -> Encoding:
    """The encoding described by the result of `Encoding.to_dict`.

    Raises:
        TypeError: an entry is absent, unknown or of the wrong type.
        DataError: an entry is not valid.
    """
    expected = asdict(Encoding())
    if not isinstance(body, dict) or body.keys() != expected.keys():
        raise TypeError(f"expected an encoding with {', '.join(expected)}")
    if not all(isinstance(entry, str) for entry in words_from_list(body["titles"])):
        raise TypeError("expected titles as text")
    lists = {name: words_from_list(body[name]) for name in ("labels", "items")}
    if not isinstance(body["columns"], list) or not isinstance(body["targets"], list):
        raise TypeError("expected lists of columns and targets")
    columns, targets = (tuple(map(column_from_dict, body[name])) for name in ("columns", "targets"))
    if not isinstance(body["item"], str) or not isinstance(body["label"], str):
        raise TypeError(f"expected text for item and label, found {body['item']!r} and {body['label']!r}")
    titles = tuple(map(str, body["titles"]))
    return Encoding(columns, titles=titles, targets=targets, item=body["item"], label=body["label"], **lists)
