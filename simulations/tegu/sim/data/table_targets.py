"""A table's targets: labels, numbers, dates, or the weights of a ranking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.spec import Kind, Spec
from tegu.core.encoding.column import Column
from tegu.core.encoding.fit import fit_column
from tegu.core.encoding.labels import encode_labels
from tegu.core.encoding.rows import encode_column
from tegu.core.encoding.values import kind_of_cells, raw_cells, read_cells
from tegu.core.encoding.words import Word, shown
from tegu.core.errors import DataError
from tegu.core.notes import note
from tegu.sim.data.guess_kind import guess_kind

__all__ = ["encode_targets"]


def encode_targets(
    columns: Mapping[str, Any], target: str | Sequence[str] | None, kind: Kind | None, spec: Spec | None, rows: int
) -> tuple[Array, tuple[Word, ...], tuple[Column, ...]]:
    """Encoded targets, with the labels of classes or the columns of values."""
    if target is None:
        if kind != "ranking":
            raise DataError("target is None: expected the column to predict; only a ranking (kind='ranking') has none")
        return np.ones(rows, np.float32), (), ()
    names = [target] if isinstance(target, str) else list(target)
    if kind == "ranking":
        return read_cells(names[0], raw_cells(names[0], columns[names[0]]), "number").array, (), ()
    if isinstance(target, str) and (kind == "classification" or (kind is None and _holds_labels(target, columns))):
        return *_classes(target, raw_cells(target, columns[target]), spec), ()
    if kind == "classification":
        raise DataError(f"target names the columns {names}: expected one column of labels")
    fitted = tuple(_fit_target(name, columns[name]) for name in names)
    return np.concatenate([encode_column(column, columns[column.name]) for column in fitted], 1), (), fitted


def _holds_labels(name: str, columns: Mapping[str, Any]) -> bool:
    cells = raw_cells(name, columns[name])
    found = kind_of_cells(name, cells)
    if found == "number" and cells.dtype.kind in "iuf":
        return guess_kind(name, cells) == "classification"
    return found in ("word", "boolean")


def _classes(name: str, cells: Array, spec: Spec | None) -> tuple[Array, tuple[Word, ...]]:
    """Classes of labels; whole numbers that are classes of the spec stay."""
    if (
        spec is not None
        and cells.dtype.kind in "iub"
        and (cells.astype(int) < spec.outputs).all()
        and (cells >= 0).all()
    ):
        return cells, ()
    codes, labels = encode_labels(cells)
    if spec is not None and len(labels) != spec.outputs:
        raise DataError(f"{name} has {len(labels)} labels and the spec {spec.outputs}: leave spec out")
    found = len(labels) or int(codes.max()) + 1
    note(f"{name}: taken as {found} labels{f' ({shown(labels)})' if labels else ''}.")
    return codes, labels


def _fit_target(name: str, raw: object) -> Column:
    column = fit_column(name, raw)
    if column.gap is not None:
        raise DataError(f"the target {name} has gaps: drop those rows")
    if column.levels:
        raise DataError(f"the target {name} holds words: expected numbers or dates; give kind='classification'")
    return column
