"""Tables in files: CSV with any usual delimiter and decimal mark, and Parquet."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

from tegu.core.encoding.delimited import decimal_mark, find_delimiter, read_text
from tegu.core.errors import DataError, MissingExtraError, require
from tegu.core.notes import note

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_table_file"]

_PARQUET = (".parquet", ".pq")
_SAMPLED = 1000  # lines that show the decimal mark


def read_table_file(path: Path) -> pd.DataFrame:
    """A CSV or Parquet file as a data frame; a note says how a CSV file was read.

    Raises:
        DataError: the file cannot be read.
        MissingExtraError: pandas is not installed; or, for Parquet, pyarrow is not.
    """
    pandas = require("pandas", "tables")
    if path.suffix.lower() in _PARQUET:
        return _parquet(pandas, path)
    text = read_text(path)
    delimiter = find_delimiter(text)
    sample = list(csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True))[:_SAMPLED]
    _check_header(path, sample[0] if sample else [])
    decimal = decimal_mark(path, sample, delimiter)
    try:
        frame: pd.DataFrame = pandas.read_csv(io.StringIO(text), sep=delimiter, decimal=decimal, skipinitialspace=True)
    except ValueError as error:  # pandas's errors of parsing are ValueErrors
        raise DataError(f"cannot read {path} ({error}): expected a CSV file with a header") from error
    comma = ", decimal comma" if decimal == "," else ""
    note(f"read {len(frame)} rows of {path.name}, delimiter {delimiter!r}{comma}, header {', '.join(frame.columns)}.")
    return frame


def _check_header(path: Path, header: list[str]) -> None:
    if twice := sorted({name for name in header if name and header.count(name) > 1}):
        raise DataError(f"{path} has several columns called {twice[0]!r}: expected each name once; rename one of them")


def _parquet(pandas: object, path: Path) -> pd.DataFrame:
    try:
        frame: pd.DataFrame = pandas.read_parquet(path)  # type: ignore[attr-defined] # pandas
    except ImportError as error:
        raise MissingExtraError("pyarrow", "tables") from error
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path} ({error}): expected a Parquet file") from error
    return frame
