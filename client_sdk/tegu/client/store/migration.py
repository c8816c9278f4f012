"""Schema 1 to schema 2, which has checksums and ids, in one transaction."""

from __future__ import annotations

import sqlite3
import struct

from tegu.client.store.records import About, Row, added, state_checksum
from tegu.client.store.schema import create_tables, insert_rows, put_about, put_personal
from tegu.core.errors import StoreError
from tegu.core.notes import note

__all__ = ["migrate"]

_RESTORE = "restore a backup, or delete the file to start again"
_TABLES = ("about", "interactions", "personal")
_COLUMNS = {
    "about": ["one", "identity", "spec", "erasures"],
    "interactions": ["id", "x", "y", "observed_at"],
    "personal": ["one", "state", "interactions"],
}


def migrate(connection: sqlite3.Connection, name: str) -> None:
    """Bring the tables of schema 1 to schema 2. Runs in the caller's transaction.

    Args:
        connection: to the database, in a transaction.
        name: of the store, for messages.

    Raises:
        StoreError: the tables are not those of schema 1.
    """
    for table, expected in _COLUMNS.items():
        found = [column[1] for column in connection.execute(f"PRAGMA table_info({table})")]
        if found != expected:
            raise StoreError(
                f"{name} is damaged (its table {table} has the columns {found}, not those of schema 1): {_RESTORE}"
            )
    about = connection.execute("SELECT identity, spec, erasures FROM about").fetchone()
    if about is None:
        raise StoreError(f"{name} is damaged (it does not name the model it belongs to): {_RESTORE}")
    old = connection.execute("SELECT id, x, y, observed_at FROM interactions ORDER BY id").fetchall()
    personal = connection.execute("SELECT state, interactions FROM personal").fetchone()
    try:
        rows = [Row(0, None, x, y, None, None, 0.0).at(number, at) for number, x, y, at in old]
        checksum = None if personal is None else state_checksum(*personal)
    except (TypeError, struct.error) as error:  # SQLite stores a value of any type in any column
        raise StoreError(f"{name} is damaged ({error}): {_RESTORE}") from error
    for table in _TABLES:
        connection.execute(f"DROP TABLE {table}")
    create_tables(connection)
    insert_rows(connection, rows)
    if personal is not None:
        put_personal(connection, *personal)
    total = added(bytes(8), (row.checksum for row in rows))
    last = rows[-1].number if rows else 0
    identity, spec, erasures = about
    put_about(connection, About(identity, spec, None, erasures, last, len(rows), total, checksum))
    note(f"{name} was converted to schema 2, which finds damage by checksums")
