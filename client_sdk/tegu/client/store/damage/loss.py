"""How many interactions a damaged store has lost, and of when, in words."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from itertools import pairwise

from tegu.client.store.records import SELECT_ABOUT, SELECT_ROWS, About, Row

__all__ = ["describe_loss", "lost_between"]


def describe_loss(connection: sqlite3.Connection, error: Exception) -> str:
    """How many interactions are lost, and of when.

    Every row is looked up on its own, because reading them in order ends at the first damaged page.

    Args:
        connection: to the store, without a transaction.
        error: what reading the rows raised.
    """
    try:
        about = About(*connection.execute(SELECT_ABOUT).fetchone())
    except (sqlite3.Error, TypeError):
        return str(error)
    if not about.is_intact():
        return str(error)
    intact = [row for number in range(1, about.last + 1) if (row := _row(connection, number)) is not None]
    lost = about.row_count - len(intact)
    return (
        f"{lost} of {about.row_count} interactions are damaged, {lost_between(intact, about.last)}"
        if lost
        else str(error)
    )


def lost_between(intact: list[Row], last: int) -> str:
    """When the rows were observed that are not among `intact`.

    Args:
        intact: rows by ascending number.
        last: largest number that a row has had.
    """
    numbers = [0, *(row.number for row in intact), last + 1]
    gaps = [i for i, (a, b) in enumerate(pairwise(numbers)) if b > a + 1]
    if not gaps or not intact:
        return "at unknown times"
    earliest = f"after {_date(intact[gaps[0] - 1])}" if gaps[0] else ""
    latest = f"before {_date(intact[gaps[-1]])}" if gaps[-1] < len(intact) else ""
    return f"observed {' and '.join(filter(None, (earliest, latest)))}"


def _row(connection: sqlite3.Connection, number: int) -> Row | None:
    try:
        values = connection.execute(SELECT_ROWS + " WHERE number = ?", (number,)).fetchone()
    except sqlite3.DatabaseError:
        return None
    row = None if values is None else Row(*values)
    return row if row is not None and row.number == number and row.is_intact() else None


def _date(row: Row) -> str:
    return f"{datetime.fromtimestamp(row.observed_at, UTC):%Y-%m-%d %H:%M:%S} UTC"
