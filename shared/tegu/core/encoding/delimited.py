"""Text files of rows: which delimiter, header and decimal mark they have."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tegu.core.errors import DataError

__all__ = ["Delimited", "decimal_mark", "find_delimiter", "is_number", "read_delimited", "read_text"]

_DELIMITERS = "\t;|,"  # the comma last: it may be a decimal mark between the others
_COMMA = re.compile(r"[+-]?\d+,\d+")
_POINT = re.compile(r"[+-]?\d*\.\d+([eE][+-]?\d+)?")


class Delimited(NamedTuple):
    """The cells of a text file.

    Attributes:
        lines: each with the same number of cells, the header among them.
        numbers: of the same lines in the file, counted from 1.
        delimiter: between cells.
        decimal: "." or ",", the decimal mark of numbers.
    """

    lines: tuple[tuple[str, ...], ...]
    numbers: tuple[int, ...]
    delimiter: str
    decimal: str


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, without a byte order mark.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets write a byte order mark
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path} ({error}): expected a CSV file in UTF-8") from error


def read_delimited(path: Path) -> Delimited:
    """The cells of a CSV file; spaces around them and empty lines are left out.

    Raises:
        DataError: the file cannot be read or is empty, lines differ in length, or numbers have both decimal marks.
    """
    text = read_text(path)
    delimiter = find_delimiter(text)
    try:
        reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
        numbered = [(reader.line_num, tuple(cell.strip() for cell in line)) for line in reader if line]
    except csv.Error as error:
        raise DataError(f"cannot read {path} ({error}): expected a CSV file in UTF-8") from error
    if not numbered:
        raise DataError(f"{path} is empty: expected a header and at least one row")
    numbers, lines = zip(*numbered, strict=True)
    for number, line in numbered:
        if len(line) != len(lines[0]):
            raise DataError(
                f"{path}, line {number} has {len(line)} cells: expected {len(lines[0])}, as in the first line; the "
                f"delimiter was found to be {delimiter!r}"
            )
    return Delimited(lines, numbers, delimiter, decimal_mark(path, lines, delimiter))


def find_delimiter(text: str) -> str:
    """The delimiter by which all of the first lines have the same number of cells, more than one.

    Where no delimiter does, the guess of Python's `csv.Sniffer`; a comma where that has none.
    """
    sample = text[: 1 << 16].splitlines()
    sample = sample[:-1] if len(text) > 1 << 16 else sample
    for delimiter in _DELIMITERS:
        try:
            counts = {len(line) for line in csv.reader(sample, delimiter=delimiter, skipinitialspace=True) if line}
        except csv.Error:
            continue
        if len(counts) == 1 and counts != {1}:
            return delimiter
    try:
        return csv.Sniffer().sniff("\n".join(sample), _DELIMITERS).delimiter
    except csv.Error:
        return ","


def decimal_mark(path: Path, lines: Sequence[Sequence[str]], delimiter: str) -> str:
    """The decimal mark: a comma if some cells are numbers with one, which a comma as the delimiter rules out.

    Raises:
        DataError: there are numbers of both kinds.
    """
    if delimiter == ",":
        return "."
    found = {mark: [cell for line in lines for cell in line if kind.fullmatch(cell)]
             for mark, kind in ((",", _COMMA), (".", _POINT))}  # fmt: skip
    if found[","] and found["."]:
        raise DataError(
            f"{path} has numbers such as {found[','][0]} and {found['.'][0]}: expected one decimal mark; write all "
            "numbers with a point and no commas"
        )
    return "," if found[","] else "."


def is_number(cell: str) -> bool:
    """Whether a cell is written as a number, with either decimal mark."""
    try:
        float(cell.replace(",", ".", 1) if _COMMA.fullmatch(cell) else cell)
    except ValueError:
        return False
    return True
