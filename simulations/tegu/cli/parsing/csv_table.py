"""A CSV file as columns by name, with or without a header."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tegu.core.encoding.delimited import Delimited, is_number, read_delimited
from tegu.core.errors import DataError

__all__ = ["CsvTable", "are_names", "read_columns", "read_ids", "read_table"]

_DELIMITERS = {"\t": "tab"}


class CsvTable(NamedTuple):
    """The columns of a CSV file.

    Attributes:
        path: of the file.
        columns: cells by name; None for an empty one.
        rows: number of rows.
        description: how the file was read, for people.
        decimal: mark of numbers.
    """

    path: Path
    columns: dict[str, list[str | None]]
    rows: int
    description: str
    decimal: str

    def numbers(self, name: str) -> list[str | None]:
        """A column of numbers, with a decimal point."""
        if self.decimal == ".":
            return self.columns[name]
        return [None if cell is None else cell.replace(self.decimal, ".") for cell in self.columns[name]]


def read_table(path: Path, names: Sequence[str], is_header: Callable[[Sequence[str]], bool]) -> CsvTable:
    """A CSV file's columns by name.

    Args:
        path: the file.
        names: of the columns that a file without a header has, in order. Where it has more or fewer, they are counted.
        is_header: whether the cells of the first line are names.

    Raises:
        DataError: as `read_delimited` or `is_header`; or a name occurs twice.
    """
    cells = read_delimited(path)
    first = cells.lines[0]
    if is_header(first):
        return _table(path, cells, first, cells.lines[1:], f"header {', '.join(first)}")
    names = names if len(names) == len(first) else [f"column {i + 1}" for i in range(len(first))]
    return _table(path, cells, names, cells.lines, f"no header, columns taken as {', '.join(names)}")


def are_names(first: Sequence[str]) -> bool:
    """Whether the first line of a file of numbers is a header: it has no number. If all are numbers, it is a row.

    Raises:
        DataError: some are numbers and some are not.
    """
    numbers = [is_number(cell) for cell in first]
    if any(numbers) and not all(numbers):
        raise DataError(
            f"the first line is {', '.join(first)}: expected a header without numbers, or numbers alone in a file "
            "without a header; name every column"
        )
    return not any(numbers)


def _table(
    path: Path, cells: Delimited, names: Sequence[str], lines: Sequence[Sequence[str]], header: str
) -> CsvTable:  # fmt: skip
    if len(set(names)) < len(names):
        raise DataError(f"{path} has the columns {list(names)}: expected each name once")
    columns = {name: [line[i] or None for line in lines] for i, name in enumerate(names)}
    delimiter = _DELIMITERS.get(cells.delimiter, repr(cells.delimiter))
    comma = ", decimal comma" if cells.decimal == "," else ""
    description = f"read {len(lines)} rows of {path.name}, delimiter {delimiter}{comma}, {header}"
    return CsvTable(path, columns, len(lines), description, cells.decimal)


def read_columns(path: Path) -> dict[str, list[str]]:
    """A CSV file's columns by the names in its first line.

    Raises:
        DataError: as `read_delimited`, or a name occurs twice.
    """
    cells = read_delimited(path)
    table = _table(path, cells, cells.lines[0], cells.lines[1:], "")
    return {name: [cell or "" for cell in column] for name, column in table.columns.items()}


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
