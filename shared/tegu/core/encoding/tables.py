"""Data frames, mappings and lists of mappings as columns by name, without importing any library of data frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tegu.core.errors import DataError

__all__ = ["check_names", "is_cell", "is_single_row", "table_columns"]


def table_columns(table: object) -> dict[str, Any] | None:
    """The columns of a table by name, each a sequence of cells; None where `table` has no names.

    Args:
        table: a data frame of pandas or polars or a table of pyarrow (anything with `columns` or `column_names`, and
            columns by name), a structured array, a mapping of columns, a mapping of single values (one row), a
            labelled row of a data frame, or a list of mappings (one for each row).

    Raises:
        DataError: a name occurs twice, rows have different names, or columns have different lengths.
    """
    if isinstance(table, Mapping):
        return _of_mapping(table)
    if isinstance(table, np.ndarray):
        return {name: table[name] for name in table.dtype.names} if table.dtype.names else None
    if isinstance(table, list | tuple) and table and all(isinstance(row, Mapping) for row in table):
        return _of_rows(table)
    if hasattr(type(table), "collect"):  # asking a lazy frame of polars for its columns gives a warning
        raise DataError(f"the table is a {type(table).__name__}, which is not computed yet: call its collect() first")
    if hasattr(table, "to_dict") and hasattr(table, "index") and not hasattr(table, "columns"):
        return _of_mapping(table.to_dict())
    names = getattr(table, "column_names", None) or getattr(table, "columns", None)
    if names is None or callable(names):
        return None
    found = list(names)
    _check_distinct(map(str, found))
    return {str(name): table[name] for name in found}  # type: ignore[index] # a data frame


def _of_mapping(table: Mapping[Any, Any]) -> dict[str, Any]:
    columns = {str(name): value for name, value in table.items()}
    single = {name for name, value in columns.items() if is_cell(value)}
    if single and len(single) < len(columns):
        rest = sorted(set(columns) - single)
        raise DataError(f"{sorted(single)} hold one value and {rest} several: give one value each, or columns")
    if single:
        return {name: [value] for name, value in columns.items()}
    lengths = {name: len(value) for name, value in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"the columns have {lengths} rows: expected equal numbers")
    return columns


def is_cell(value: object) -> bool:
    """Whether `value` is one cell and not a column of them."""
    return isinstance(value, str | bytes) or not hasattr(value, "__len__") or np.ndim(value) == 0  # type: ignore[arg-type] # any object


def is_single_row(table: object) -> bool:
    """Whether a table is one row without an axis of rows: a mapping of single values, or a labelled row."""
    if isinstance(table, Mapping):
        return all(map(is_cell, table.values()))
    return hasattr(table, "to_dict") and not hasattr(table, "columns")


def _of_rows(rows: Iterable[Mapping[Any, Any]]) -> dict[str, Any]:
    named = [{str(name): value for name, value in row.items()} for row in rows]
    for number, row in enumerate(named):
        if row.keys() != named[0].keys():
            raise DataError(
                f"row {number} has {sorted(row)} and row 0 has {sorted(named[0])}: give every row the same names, "
                "None where a value is missing"
            )
    return {name: [row[name] for row in named] for name in named[0]}


def _check_distinct(names: Iterable[str]) -> None:
    found = list(names)
    if len(set(found)) < len(found):
        raise DataError(f"the table has the columns {found}: expected each name once")


def check_names(found: Iterable[str], expected: Iterable[str], *, extra: bool = False) -> list[str]:
    """Check that the expected names are there and, unless `extra`, no others.

    Returns:
        The names that are not expected, as found.

    Raises:
        DataError: names are missing or unknown; the message lists them.
    """
    given, wanted = list(found), list(expected)
    missing = [name for name in wanted if name not in given]
    unknown = [name for name in given if name not in wanted]
    if missing or (unknown and not extra):
        parts = [f"{kind} {names}" for kind, names in (("missing", missing), ("unknown", unknown)) if names]
        raise DataError(f"the columns do not fit the bundle: {' and '.join(parts)}; expected exactly {wanted}")
    return unknown
