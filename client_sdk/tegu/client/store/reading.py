"""Rows of a store, verified."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from tegu.client.store.records import SELECT_ROWS, About, Row, added
from tegu.client.store.row_bytes import rows_from_bytes
from tegu.core.data.batch import Array
from tegu.core.data.spec import Spec, check_rows
from tegu.core.errors import DataError

__all__ = ["StoredRows", "decode_rows", "read_newest", "read_rows"]


class StoredRows(NamedTuple):
    """Observed interactions, the oldest first.

    Attributes:
        x: inputs, `[rows, *spec.x.shape]`.
        y: targets, `[rows, *spec.y.shape]`.
        rows: what else is known of each.
        erasures: how often rows had been erased when these were read.
    """

    x: Array
    y: Array
    rows: Sequence[Row]
    erasures: int

    def __repr__(self) -> str:
        return f"StoredRows({len(self.rows)} rows)"


def read_rows(connection: sqlite3.Connection, about: About, spec: Spec) -> StoredRows:
    """All interactions. Runs in the caller's transaction.

    Args:
        connection: to the store.
        about: what the store says about itself.
        spec: of its rows.

    Raises:
        DataError: rows are damaged, missing, repeated, out of order, or do not fit the spec.
        sqlite3.DatabaseError: the file is damaged.
    """
    rows = [*map(Row._make, connection.execute(SELECT_ROWS + " ORDER BY number"))]
    damaged = sum(not row.is_intact() for row in rows)
    if damaged:
        raise DataError(f"{damaged} of {about.row_count} interactions are not what was written")
    ascending = all(a.number < b.number for a, b in pairwise(rows))
    if not ascending or (len(rows), added(bytes(8), (row.checksum for row in rows))) != (about.row_count, about.total):
        raise DataError(f"it has {len(rows)} interactions in place of the {about.row_count} that were written")
    x, y = decode_rows(rows, spec)
    return StoredRows(x, y, rows, about.erasures)


def read_newest(connection: sqlite3.Connection, about: About, spec: Spec, most: int) -> StoredRows:
    """The newest interactions, at most so many. Runs in the caller's transaction.

    Each is verified. That none is missing between them shows only where all are read.

    Raises:
        DataError: rows are damaged, too few, out of order, or do not fit the spec.
        sqlite3.DatabaseError: the file is damaged.
    """
    if most >= about.row_count:
        return read_rows(connection, about, spec)
    newest = connection.execute(f"{SELECT_ROWS} ORDER BY number DESC LIMIT ?", (most,))
    rows = [*map(Row._make, newest)][::-1]
    damaged = sum(not row.is_intact() for row in rows)
    if damaged or len(rows) != most or not all(a.number < b.number for a, b in pairwise(rows)):
        raise DataError(f"{damaged} of its newest {most} interactions are not what was written, of {len(rows)} found")
    x, y = decode_rows(rows, spec)
    return StoredRows(x, y, rows, about.erasures)


def decode_rows(rows: Sequence[Row], spec: Spec) -> tuple[Array, Array]:
    """Inputs and targets of rows.

    Raises:
        DataError: rows do not fit the spec.
        TypeError: a value is not bytes.
    """
    x = rows_from_bytes([row.x for row in rows], spec.x)
    return check_rows(spec, x, rows_from_bytes([row.y for row in rows], spec.y))
