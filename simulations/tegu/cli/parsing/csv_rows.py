"""Read interactions and inputs from CSV as a bundle expects them, and write rows as CSV."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np

from tegu.cli.parsing.csv_table import CsvTable, are_names, read_table
from tegu.core.bundle.manifest import Manifest
from tegu.core.data.batch import Array
from tegu.core.data.spec import Field, Spec
from tegu.core.encoding.column import ColumnKind
from tegu.core.encoding.delimited import is_number
from tegu.core.encoding.encoding import Encoding
from tegu.core.errors import DataError

__all__ = ["CsvRows", "read_rows", "write_rows"]

_EXACT = 2.0**53  # below this, float64 represents every integer exactly
_TARGET = re.compile(r"y\d*|target", re.IGNORECASE)


class CsvRows(NamedTuple):
    """Inputs and targets of a file, for `Personalizer.observe`.

    Attributes:
        x: columns by name, items, or rows.
        y: labels, values by name, or rows; None without columns of targets.
        description: how the file was read, for people.
    """

    x: Any
    y: Any
    description: str


def read_rows(path: Path, manifest: Manifest, *, targets: bool = True) -> CsvRows:
    """Inputs and targets from a CSV file.

    Columns go by the names in the bundle, and others are ignored. In a bundle without names, the columns `target`, `y`,
    `y0`, `y1` and so on are targets, a column `title` is skipped, and all others are inputs.

    Args:
        path: the file.
        manifest: of the bundle.
        targets: whether to read targets.

    Raises:
        DataError: as `read_table`; columns are missing; or a cell is not a number.
    """
    encoding = manifest.encoding
    if encoding is not None and encoding.features:
        return _named_rows(path, manifest.spec, encoding, targets)
    return _bare_rows(path, manifest.spec, encoding, targets)


def _named_rows(path: Path, spec: Spec, encoding: Encoding, targets: bool) -> CsvRows:
    answers = list(encoding.answers) if targets else []
    expected = [*encoding.features, *answers]
    kinds = {column.name: column.kind for column in (*encoding.columns, *encoding.targets)}
    table = read_table(path, expected, partial(_has_names, expected, kinds))
    required = encoding.features if spec.kind == "ranking" else expected
    missing = [name for name in required if name not in table.columns]
    if missing:
        raise DataError(f"{path} has the columns {list(table.columns)}: missing {missing}; expected {expected}")
    ignored = [name for name in table.columns if name not in expected]
    description = table.description + (f"; ignored {', '.join(ignored)}" if ignored else "")
    x, y = (
        {name: table.numbers(name) if kinds.get(name) == "number" else table.columns[name] for name in names}
        for names in (encoding.features, [name for name in answers if name in table.columns])
    )
    return CsvRows(x, y or None, description)


def _has_names(expected: Sequence[str], kinds: Mapping[str, ColumnKind], first: Sequence[str]) -> bool:
    """Whether the first line names columns of the bundle. Without a header, the numbers in it show that it is a row.

    Raises:
        DataError: it does neither.
    """
    if set(first) & set(expected):
        return True
    numbers = [cell for name, cell in zip(expected, first, strict=False) if kinds.get(name) == "number"]
    if len(first) == len(expected) and any(numbers) and all(cell == "" or is_number(cell) for cell in numbers):
        return False
    raise DataError(f"the first line is {', '.join(first)}: expected a header with {', '.join(expected)}")


def _bare_rows(path: Path, spec: Spec, encoding: Encoding | None, targets: bool) -> CsvRows:
    inputs, outputs = (int(np.prod(field.shape)) for field in (spec.x, spec.y))
    by_position = [*(f"x{i}" for i in range(inputs)), *(f"y{i}" for i in range(outputs) if targets)]
    words = encoding or Encoding()
    table = read_table(path, by_position, partial(_is_bare_header, words, inputs))
    found = [name for name in table.columns if _TARGET.fullmatch(name)]
    names = [name for name in table.columns if name not in found and name.lower() != "title"]
    x: Any = table.columns[names[0]] if words.items and len(names) == 1 else _array(table, names, spec.x)
    if not found or not targets:
        return CsvRows(x, None, table.description)
    y: Any = table.columns[found[0]] if words.labels and len(found) == 1 else _array(table, found, spec.y)
    return CsvRows(x, y, table.description)


def _is_bare_header(words: Encoding, inputs: int, first: Sequence[str]) -> bool:
    """Whether the first line is a header, where inputs are numbers or known items, and labels may be text."""
    if words.items:
        return first[0] not in {*map(str, words.items), *words.titles}
    return are_names(first[:inputs] if words.labels else first)


def _array(table: CsvTable, names: Sequence[str], field: Field) -> Array:
    expected = int(np.prod(field.shape))
    if len(names) != expected:
        raise DataError(
            f"{table.path} has the columns {list(names)} for a row of shape {field.shape}: expected {expected} columns"
        )
    rows = _numbers(table, names).reshape(-1, *field.shape)
    if field.dtype == "int64":
        if not (np.abs(rows) < _EXACT).all() or (rows != np.round(rows)).any():
            found = _first_non_integer(rows)
            raise DataError(f"{table.path} has {found} in {list(names)}: expected integer ids or labels")
        return rows.astype(np.int64)
    return rows.astype(np.float32)


def _numbers(table: CsvTable, names: Sequence[str]) -> Array:
    try:
        cells = [[float(cell or "") for cell in table.numbers(name)] for name in names]
    except ValueError as error:
        raise DataError(f"{table.path} has a cell that is not a number ({error}): expected numbers") from error
    return np.asarray(cells, dtype=np.float64).T


def _first_non_integer(table: Array) -> float:
    """The first entry that is not an exact integer."""
    return float(table[~(np.abs(table) < _EXACT) | (table != np.round(table))][0])


def write_rows(file: TextIO, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a header and rows as CSV."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
