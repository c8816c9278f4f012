"""The tables of an interaction store: created in a new database, checked or migrated in an existing one."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable

from tegu.client.store.records import About, Row
from tegu.core.data.spec import Spec
from tegu.core.errors import DataError, StoreError

__all__ = [
    "SCHEMA",
    "create_tables",
    "insert_rows",
    "open_tables",
    "put_about",
    "put_personal",
    "spec_from_json",
    "spec_json",
]

SCHEMA = 2

_APPLICATION = int.from_bytes(b"TEGU", "big")  # in the file's header: distinguishes a store from other databases
_NO_TOTAL = bytes(8)
_TABLES = (
    "CREATE TABLE about (one INTEGER PRIMARY KEY CHECK (one = 1), identity TEXT NOT NULL, spec TEXT NOT NULL,"
    " encoding TEXT, erasures INTEGER NOT NULL, last INTEGER NOT NULL, row_count INTEGER NOT NULL,"
    " total BLOB NOT NULL, personal BLOB, checksum BLOB NOT NULL)",
    "CREATE TABLE interactions (number INTEGER PRIMARY KEY, id TEXT, x BLOB NOT NULL, y BLOB NOT NULL, item TEXT,"
    " label TEXT, observed_at REAL NOT NULL, checksum BLOB NOT NULL)",
    "CREATE UNIQUE INDEX ids ON interactions (id) WHERE id IS NOT NULL",
    "CREATE TABLE personal (one INTEGER PRIMARY KEY CHECK (one = 1), state BLOB NOT NULL,"
    " interactions INTEGER NOT NULL)",
)


def open_tables(connection: sqlite3.Connection, name: str, identity: str, spec: Spec, encoding: str | None) -> bool:
    """Create the tables in an empty database, or check that a database is a store. Runs in the caller's transaction.

    Args:
        connection: to the database, in a transaction.
        name: of the store, for error messages.
        identity: of the model that a new store is made for.
        spec: of that model.
        encoding: of that model, as in `About`.

    Returns:
        Whether the store has an older schema and needs `migration.migrate`.

    Raises:
        StoreError: the database is not a store, or was made by another version of Tegu.
    """
    application = _number(connection, "PRAGMA application_id")
    version = _number(connection, "PRAGMA user_version")
    if application == version == _number(connection, "SELECT count(*) FROM sqlite_master") == 0:
        create_tables(connection)
        put_about(connection, About(identity, spec_json(spec), encoding, 0, 0, 0, _NO_TOTAL, None))
    elif application != _APPLICATION:
        raise StoreError(f"{name} is a database but not an interaction store: choose another path")
    elif version not in (1, SCHEMA):
        raise StoreError(
            f"{name} has schema version {version} and this Tegu reads 1 to {SCHEMA}: upgrade tegu, or choose another "
            "path"
        )
    return version == 1


def create_tables(connection: sqlite3.Connection) -> None:
    """Create the tables, and mark the database as a store."""
    for table in _TABLES:
        connection.execute(table)
    connection.execute(f"PRAGMA application_id = {_APPLICATION}")
    connection.execute(f"PRAGMA user_version = {SCHEMA}")


def insert_rows(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Insert rows; a row with the number of one that is there replaces it."""
    connection.executemany("INSERT OR REPLACE INTO interactions VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)


def put_about(connection: sqlite3.Connection, about: About) -> None:
    """Write what the store says about itself, with its checksum."""
    connection.execute("INSERT OR REPLACE INTO about VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?)", about.sealed())


def put_personal(connection: sqlite3.Connection, state: bytes, interactions: int) -> None:
    """Write the personal state; the caller writes its checksum to `About.personal`."""
    connection.execute("INSERT OR REPLACE INTO personal VALUES (1, ?, ?)", (state, interactions))


def spec_json(spec: Spec) -> str:
    """A spec as JSON text; equal specs give equal texts."""
    return json.dumps(spec.to_dict(), sort_keys=True)


def spec_from_json(text: str) -> Spec:
    """The spec in a text of `spec_json`, of this or an earlier version.

    Raises:
        DataError: the text describes no spec.
    """
    try:
        return Spec.from_dict(json.loads(text))
    except ValueError as error:  # a DataError is one, too
        raise DataError(f"the store's spec cannot be read ({error}): upgrade tegu") from error


def _number(connection: sqlite3.Connection, query: str) -> int:
    value: int = connection.execute(query).fetchone()[0]
    return value
