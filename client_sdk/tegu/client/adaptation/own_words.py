"""The application's own words: raw inputs and targets to rows of the model, and its outputs to labels and values.

What a name or a word means is in the bundle (`tegu.core.encoding`): training ran the same code.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.spec import Spec
from tegu.core.encoding.encoding import Encoding
from tegu.core.encoding.rows import decode_column
from tegu.core.encoding.tables import check_names, is_cell, table_columns
from tegu.core.encoding.values import raw_cells, read_cells
from tegu.core.encoding.words import Word, shown, words_array
from tegu.core.errors import DataError
from tegu.core.notes import note

__all__ = ["given_inputs", "given_targets", "labels_of", "own_items", "titles_of", "values_of"]


def given_inputs(spec: Spec, encoding: Encoding | None, x: Any) -> Array | None:
    """Inputs in the application's own words as rows of the model; None where the bundle has no words for inputs.

    One input without an axis of rows gives one row.

    Args:
        spec: of the model.
        encoding: of the bundle.
        x: for a catalogue, an item or several, by id or title. Otherwise a table with the bundle's names in any order
            (see `tegu.core.encoding.tables.table_columns`), or rows without names: raw values in the order of
            `encoding.features`, or encoded rows where only these have as many numbers.

    Raises:
        DataError: names are missing or unknown, or a value does not fit.
    """
    if encoding is None or not (encoding.columns or encoding.item or encoding.items or encoding.titles):
        if _has_names(x) and not spec.inputs:
            note(f"x has names, {shown(list(map(str, x.columns)))}, and the bundle has none: taken by position.")
        return None
    if encoding.columns:
        columns = table_columns(x)
        return _without_names(spec, encoding, x) if columns is None else encoding.encode(columns)
    if not encoding.items and not encoding.titles:
        return None if not encoding.item else _of_named_items(encoding, x)
    column = _column(x, encoding.item)
    return encoding.positions([column] if is_cell(column) else column)


def _has_names(x: Any) -> bool:
    return hasattr(x, "to_numpy") and not callable(getattr(x, "columns", len))


def _of_named_items(encoding: Encoding, x: Any) -> Array | None:
    """Items of a table, where ids are positions; None for what is no table."""
    column = _column(x, encoding.item)
    return None if column is x else _numbers(encoding.item, column)


def _column(x: Any, name: str) -> Any:
    """The column of that name where `x` is a table, otherwise `x` itself."""
    columns = None if not name or _is_series(x) else table_columns(x)
    if columns is None:
        return x
    check_names(columns, [name])
    return columns[name]


def _is_series(x: Any) -> bool:
    """Whether `x` is one column of a data frame; as a labelled row it would be read as a table."""
    return hasattr(x, "to_numpy") and not hasattr(x, "columns")


def _without_names(spec: Spec, encoding: Encoding, x: Any) -> Array:
    cells = _as_objects(x)
    rows = cells[None] if cells.ndim == 1 else cells
    if rows.ndim == 2 and rows.shape[1] == len(encoding.columns):
        return encoding.encode({column.name: rows[:, i] for i, column in enumerate(encoding.columns)})
    if cells.shape[-1:] == spec.x.shape and rows.ndim == 2:
        return np.asarray(rows, np.float32)
    raise DataError(
        f"x has shape {cells.shape}: expected rows of {len(encoding.columns)} raw values "
        f"({', '.join(encoding.features)}), or of {len(encoding.names)} encoded ones; give names to be safe"
    )


def _as_objects(x: Any) -> Array:
    """Nested lists as an array that keeps numbers beside text; arrays as they are."""
    found = x.to_numpy() if hasattr(x, "to_numpy") else x
    try:
        return found if isinstance(found, np.ndarray) else np.asarray(found, dtype=object)
    except ValueError as error:
        raise DataError(f"x is not an array ({error}): give every row the same shape") from error


def given_targets(encoding: Encoding | None, y: Any) -> Any:
    """Targets in the application's own words as rows of the model; `y` itself where the bundle has no words for them.

    Args:
        encoding: of the bundle.
        y: labels `[rows]`; values `[rows, targets]` in the units of the training data, `[rows]` for one target; or a
            table with the names of the targets. One interaction may omit the axis of rows.

    Raises:
        DataError: a label is not known, or a value does not fit.
    """
    if encoding is None or y is None:
        return y
    column = _column(y, encoding.label)
    if encoding.labels:
        classes = encoding.classes([column] if is_cell(column) else column)
        return classes[0] if is_cell(column) else classes
    if not encoding.targets:
        return y if column is y else _numbers(encoding.label, column)
    columns = None if _is_series(y) else table_columns(y)
    if columns is None:
        return _values_without_names(encoding, y)
    return encoding.values(columns)


def _numbers(name: str, column: Any) -> Array:
    return read_cells(name, raw_cells(name, column), "number").array


def _values_without_names(encoding: Encoding, y: Any) -> Array:
    cells = _as_objects(y)
    wide = cells if cells.ndim and cells.shape[-1] == len(encoding.targets) and cells.ndim <= 2 else cells[..., None]
    rows = wide[None] if wide.ndim == 1 else wide
    if rows.ndim != 2 or rows.shape[1] != len(encoding.targets):
        names = ", ".join(column.name for column in encoding.targets)
        raise DataError(f"y has shape {cells.shape}: expected rows of {len(encoding.targets)} values ({names})")
    found = encoding.values({column.name: rows[:, i] for i, column in enumerate(encoding.targets)})
    return found[0] if wide.ndim == 1 else found


def labels_of(spec: Spec, encoding: Encoding | None, outputs: Array) -> Array:
    """The label of every row, `[rows]`, from logits `[rows, outputs]`; of equal logits, the first.

    Raises:
        DataError: the model does not classify.
    """
    if spec.kind != "classification":
        raise DataError(f"a {spec.kind} predicts no labels: use predict, or predict_values")
    classes = outputs.argmax(1) if spec.outputs > 1 else (outputs[:, 0] > 0).astype(np.int64)
    labels = () if encoding is None else encoding.labels
    return words_array(labels)[classes] if labels else classes


def values_of(spec: Spec, encoding: Encoding | None, outputs: Array) -> dict[str, Array]:
    """The targets of every row by name, `[rows]` each, from outputs `[rows, targets]`.

    Raises:
        DataError: the model predicts no values.
    """
    if spec.kind != "regression":
        raise DataError(f"a {spec.kind} predicts no values: use predict or recommend, or predict_labels for labels")
    targets = () if encoding is None else encoding.targets
    if not targets:
        return {f"y{i}" if spec.outputs > 1 else "y": outputs[:, i] for i in range(spec.outputs)}
    return {column.name: decode_column(column, outputs[:, i]) for i, column in enumerate(targets)}


def own_items(encoding: Encoding | None, positions: Array) -> Array:
    """The ids of items, as they were given in training."""
    return words_array(encoding.items)[positions] if encoding is not None and encoding.items else positions


def titles_of(encoding: Encoding | None, items: Any) -> list[str]:
    """The titles of items, given by id; the id as text where the bundle has no titles.

    Raises:
        DataError: an item is not known.
    """
    if encoding is None or not (encoding.items or encoding.titles):
        return [str(item) for item in np.atleast_1d(items).tolist()]
    words: tuple[Word, ...] | tuple[str, ...] = encoding.titles or encoding.items
    single = is_cell(items)
    return [str(words[position]) for position in encoding.positions([items] if single else items)]
