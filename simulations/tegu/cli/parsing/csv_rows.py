"""Read and write rows as CSV with a header."""

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

_EXACT = 2.0**53  # below this, float64 represents every integer exactly


def read_columns(path: Path) -> dict[str, list[str]]:
    """A CSV file's columns by name. Empty lines are skipped.

    Raises:
        DataError: the file cannot be read or is empty, a name occurs twice, or a row and the header differ in length.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets write a byte order mark
            header, *rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read {path} ({error}): expected a CSV file in UTF-8") from error
    except ValueError as error:
        raise DataError(f"{path} is empty: expected a header and at least one row") from error
    if len(set(header)) < len(header):
        raise DataError(f"{path} has the columns {header}: expected each name once")
    for number, row in enumerate(rows, start=2):
        if row and len(row) != len(header):
            raise DataError(f"{path}, line {number} has {len(row)} cells: expected {len(header)}, as in the header")
    return {name: [row[column] for row in rows if row] for column, name in enumerate(header)}


def read_ids(path: Path, name: str) -> list[int]:
    """One column of integers.

    Raises:
        DataError: as `read_columns`; the column is missing; or a cell is not an integer.
    """
    columns = read_columns(path)
    if name not in columns:
        raise DataError(f"{path} has the columns {sorted(columns)}: expected {name} among them")
    try:
        return [int(cell) for cell in columns[name]]
    except ValueError as error:
        raise DataError(f"{path} has a cell in {name} that is no integer ({error}): expected integer ids") from error


def read_rows(path: Path, spec: Spec) -> tuple[Array, Array | None]:
    """Inputs and targets from a CSV file.

    Columns whose names begin with y are targets. A column `title` is skipped. All others are inputs.

    Args:
        path: the file.
        spec: the data specification of the model.

    Returns:
        Inputs `[rows, ...]` and targets `[rows, ...]` in the spec's shapes and dtypes; None without target columns.

    Raises:
        DataError: as `read_columns`; a cell is not a number; or the number of columns does not fit the spec.
    """
    columns = read_columns(path)
    targets = [name for name in columns if name.lower().startswith("y")]
    inputs = [name for name in columns if name not in targets and name.lower() != "title"]
    x = _array(path, columns, inputs, spec.x)
    return x, _array(path, columns, targets, spec.y) if targets else None


def _array(path: Path, columns: dict[str, list[str]], names: Sequence[str], field: Field) -> Array:
    expected = int(np.prod(field.shape))
    if len(names) != expected:
        raise DataError(
            f"{path} has the columns {list(names)} for a row of shape {field.shape}: expected {expected} columns"
        )
    try:
        cells = [[float(cell) for cell in columns[name]] for name in names]
    except ValueError as error:
        raise DataError(f"{path} has a cell that is not a number ({error}): expected numbers") from error
    table = np.asarray(cells, dtype=np.float64).T.reshape(-1, *field.shape)
    if field.dtype == "int64":
        if not (np.abs(table) < _EXACT).all() or (table != np.round(table)).any():
            raise DataError(f"{path} has {_first_non_integer(table)} in {list(names)}: expected integer ids or labels")
        return table.astype(np.int64)
    return table.astype(np.float32)


def _first_non_integer(table: Array) -> float:
    """The first entry that is not an exact integer."""
    return float(table[~(np.abs(table) < _EXACT) | (table != np.round(table))][0])


def write_rows(file: TextIO, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a header and rows as CSV."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
