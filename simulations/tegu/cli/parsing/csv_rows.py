"""Rows from and to CSV with a header."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.spec import Field, Spec
from tegu.core.errors import DataError

__all__ = ["read_columns", "read_ids", "read_rows", "write_rows"]

_EXACT = 2.0**53  # below it, a float64 tells every whole number


def read_columns(path: Path) -> dict[str, list[str]]:
    """A CSV's columns by name.

    Raises:
        DataError: absent, empty, a name twice, or rows of another length than the header; empty lines are passed over.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets put a mark before the first name
            header, *rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read {path} ({error}): expected a CSV file in UTF-8") from error
    except ValueError as error:
        raise DataError(f"{path} is empty: expected a header and at least one row") from error
    if len(set(header)) < len(header):
        raise DataError(f"{path} has the columns {header}: expected each name once")
    for number, row in enumerate(rows, start=2):
        if row and len(row) != len(header):
            raise DataError(f"{path}, line {number} has {len(row)} cells: expected {len(header)}, as the header has")
    return {name: [row[column] for row in rows if row] for column, name in enumerate(header)}


def read_ids(path: Path, name: str) -> list[int]:
    """One column of whole numbers.

    Raises:
        DataError: as `read_columns`, no such column, or a cell that is no whole number.
    """
    columns = read_columns(path)
    if name not in columns:
        raise DataError(f"{path} has the columns {sorted(columns)}: expected {name} among them")
    try:
        return [int(cell) for cell in columns[name]]
    except ValueError as error:
        raise DataError(f"{path} holds a cell in {name} that is no whole number ({error}): expected ids") from error


def read_rows(path: Path, spec: Spec) -> tuple[Array, Array | None]:
    """Inputs and targets from a CSV; targets are the columns whose names begin with y, None where there are none.

    Raises:
        DataError: a cell that is no number, or another number of columns than the model takes.
    """
    columns = read_columns(path)
    targets = [name for name in columns if name.lower().startswith("y")]
    inputs = [name for name in columns if name not in targets and name.lower() != "title"]
    x = _array(path, columns, inputs, spec.x)
    return x, _array(path, columns, targets, spec.y) if targets else None


def _array(path: Path, columns: dict[str, list[str]], names: Sequence[str], field: Field) -> Array:
    wanted = int(np.prod(field.shape))
    if len(names) != wanted:
        raise DataError(f"{path} has the columns {list(names)} for a row of {field.shape}: expected {wanted} of them")
    try:
        cells = [[float(cell) for cell in columns[name]] for name in names]
    except ValueError as error:
        raise DataError(f"{path} holds a cell that is no number ({error}): expected numbers") from error
    table = np.asarray(cells, dtype=np.float64).T.reshape(-1, *field.shape)
    if field.dtype == "int64":
        if not (np.abs(table) < _EXACT).all() or (table != np.round(table)).any():
            raise DataError(f"{path} holds {_odd(table)} in {list(names)}: expected whole numbers, ids or labels")
        return table.astype(np.int64)
    return table.astype(np.float32)


def _odd(table: Array) -> float:
    """The first entry that is no whole number."""
    return float(table[~(np.abs(table) < _EXACT) | (table != np.round(table))][0])


def write_rows(file: TextIO, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A header and rows as CSV."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
