"""A table's features: columns of numbers, categories and dates, or one column of item ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.spec import Spec
from tegu.core.encoding.column import Column
from tegu.core.encoding.delimited import is_number
from tegu.core.encoding.encoding import Encoding
from tegu.core.encoding.fit import Role, fit_column
from tegu.core.encoding.labels import encode_items
from tegu.core.encoding.rows import encode_column
from tegu.core.encoding.values import kind_of_cells, raw_cells
from tegu.core.encoding.words import Word, codes_of, lookup, shown
from tegu.core.errors import DataError
from tegu.core.notes import note

__all__ = ["Names", "Titles", "encode_inputs", "item_titles"]

Names: TypeAlias = str | Sequence[str]
_FEW_CODES = 20
_FEW_NAMED = 3
Titles: TypeAlias = str | Mapping[Any, str]


def encode_inputs(
    columns: Mapping[str, Any], features: Names, roles: Mapping[str, Role], spec: Spec | None
) -> tuple[Array, Encoding]:
    """Rows of features, float32 `[rows, numbers]`, or positions of items, int64 `[rows]`.

    A note says what became of each column.

    Args:
        columns: raw columns by name.
        features: see `tegu.sim.data.table.table_rows`.
        roles: columns whose values are categories or ids although they are numbers.
        spec: that the rows have to fit; None to follow from the columns.

    Raises:
        DataError: a column cannot be encoded; the message names it.
    """
    unknown = sorted(set(roles) - set([features] if isinstance(features, str) else features))
    if unknown:
        raise DataError(f"categories or ids name {unknown}: expected columns of features")
    if isinstance(features, str) and features not in roles and _holds_ids(features, columns[features]):
        x, items = _items(features, raw_cells(features, columns[features]), spec)
        return x, Encoding(items=items, item=features)
    names = [features] if isinstance(features, str) else list(features)
    if not names:
        raise DataError("features names no column: expected at least one")
    fitted = tuple(fit_column(name, columns[name], roles.get(name)) for name in names)
    encoded = [encode_column(column, columns[column.name]) for column in fitted]
    _tell(fitted, encoded, columns)
    return np.concatenate(encoded, 1), Encoding(fitted)


def _holds_ids(name: str, raw: object) -> bool:
    cells = raw_cells(name, raw)
    return cells.dtype.kind in "iu" or kind_of_cells(name, cells) == "word"


def _items(name: str, cells: Array, spec: Spec | None) -> tuple[Array, tuple[Word, ...]]:
    """Positions of items; ids that fit the spec's catalogue as they are, stay."""
    if spec is not None and cells.dtype.kind in "iu":
        return cells, ()
    codes, items = encode_items(cells)
    if spec is not None and len(items) != spec.items:
        raise DataError(f"{name} has {len(items)} items and the spec {spec.items}: leave spec out and give kind")
    found = len(items) or int(codes.max()) + 1
    note(f"{name}: taken as the ids of {found} items{f' ({shown(items)})' if items else ''}.")
    return codes, items


def item_titles(titles: Titles, positions: Array, ids: Sequence[Word], columns: Mapping[str, Any]) -> tuple[str, ...]:
    """The title of every item; an item without one is called by its id.

    Args:
        titles: titles by item id, or the name of a column that has the title of each row's item.
        positions: int64 `[rows]`, the item of each row.
        ids: of the items.
        columns: raw columns by name.
    """
    found = list(map(str, ids))
    if isinstance(titles, str):
        given = zip(positions.tolist(), raw_cells(titles, columns[titles]).tolist(), strict=True)
    else:
        given = zip(codes_of(lookup(ids), titles).tolist(), titles.values(), strict=True)
    for position, title in given:
        if position >= 0:  # an item that nobody has interacted with is not in the catalogue
            found[position] = str(title)
    return tuple(found)


def _tell(fitted: Sequence[Column], encoded: Sequence[Array], columns: Mapping[str, Any]) -> None:
    """A note for each column that is changed, and one for all others."""
    plain = [
        column
        for column in fitted
        if column.kind in ("number", "boolean") and not column.shifted and column.gap is None
    ]
    if plain:
        codes = [column.name for column in plain if _may_be_codes(column, columns[column.name])]
        hint = f"; name {', '.join(codes)} in categories where the numbers are codes" if codes else ""
        note(f"{', '.join(column.name for column in plain)}: taken as numbers, unchanged{hint}.")
    for column, rows in zip(fitted, encoded, strict=True):
        if column not in plain:
            note(f"{column.describe()}{_loss(column, rows, columns[column.name])}{_hint(column)}.")


def _may_be_codes(column: Column, raw: object) -> bool:
    """Whether whole numbers have so few values that they may be codes of categories."""
    return column.whole and 2 < len(np.unique(raw_cells(column.name, raw))) <= _FEW_CODES


def _hint(column: Column) -> str:
    texts = [level for level in column.levels if isinstance(level, str)]
    others = [level for level in texts if not is_number(level)]
    if 2 * len(others) >= len(texts):
        return ""
    beside = f" beside {', '.join(map(repr, others[:_FEW_NAMED]))}" if others else ""
    return f"; its text looks like numbers{beside}: convert it, as by pandas.to_numeric, if it is"


def _loss(column: Column, rows: Array, raw: object) -> str:
    """What float32 merges in a column with an origin, for its note."""
    if column.levels or not column.shifted:
        return ""
    cells = raw_cells(column.name, raw)
    distinct = len(set(cells[cells == cells].tolist()))  # noqa: PLR0124 # NaN alone differs from itself
    kept = len(np.unique(rows[:, 0]))
    return f"; float32 keeps {kept} of {distinct} distinct values" if kept < distinct else ""
