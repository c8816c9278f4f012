"""The tables of an interaction store: created in a new database, checked in an existing one."""

from __future__ import annotations

import json
import sqlite3

from tegu.core.data.spec import Spec
from tegu.core.errors import StoreError

__all__ = ["SCHEMA", "create_or_check_tables", "spec_json"]

SCHEMA = 1

_APPLICATION = int.from_bytes(b"TEGU", "big")  # in the file's header: distinguishes a store from other databases
_TABLES = (
    "CREATE TABLE about (one INTEGER PRIMARY KEY CHECK (one = 1), identity TEXT NOT NULL, spec TEXT NOT NULL,"
    " erasures INTEGER NOT NULL)",
    "CREATE TABLE interactions (id INTEGER PRIMARY KEY, x BLOB NOT NULL, y BLOB NOT NULL, observed_at REAL NOT NULL)",
    "CREATE TABLE personal (one INTEGER PRIMARY KEY CHECK (one = 1), state BLOB NOT NULL,"
    " interactions INTEGER NOT NULL)",
)


def create_or_check_tables(connection: sqlite3.Connection, name: str, identity: str, spec: Spec) -> None:
    """Create the tables in an empty database, or check that a database is a store. Runs in the caller's transaction.

    Args:
        connection: to the database, in a transaction.
        name: of the store, for error messages.
        identity: of the model that a new store is made for.
        spec: of that model.

    Raises:
        StoreError: the database is not a store, or was made by another version of Tegu.
    """
    application = _number(connection, "PRAGMA application_id")
    version = _number(connection, "PRAGMA user_version")
    if application == version == _number(connection, "SELECT count(*) FROM sqlite_master") == 0:
        for table in _TABLES:
            connection.execute(table)
        connection.execute("INSERT INTO about VALUES (1, ?, ?, 0)", (identity, spec_json(spec)))
        connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        connection.execute(f"PRAGMA user_version = {SCHEMA}")
    elif application != _APPLICATION:
        raise StoreError(f"{name} is a database but not an interaction store: choose another path")
    elif version != SCHEMA:
        raise StoreError(
            f"{name} has schema version {version} and this Tegu reads {SCHEMA}: upgrade tegu, or choose another path"
        )


def spec_json(spec: Spec) -> str:
    """A spec as JSON text; equal specs give equal texts."""
    return json.dumps(spec.to_dict(), sort_keys=True)


def _number(connection: sqlite3.Connection, query: str) -> int:
    value: int = connection.execute(query).fetchone()[0]
    return value
