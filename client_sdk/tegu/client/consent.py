"""Whether the user agreed to take part in a federation, and what that has cost today.

It stands in the store, beside the interactions that it is about, in a table of its own that a store has from the first
agreement on. What cannot be read as it was written counts as no.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from typing import NamedTuple

from tegu.client.store.database import Database

__all__ = ["Agreement", "Consent", "withdraw_in"]

_TABLE = (
    "CREATE TABLE IF NOT EXISTS participation (one INTEGER PRIMARY KEY CHECK (one = 1), user TEXT NOT NULL,"
    " day TEXT NOT NULL, bytes INTEGER NOT NULL, checksum BLOB NOT NULL)"
)
_CHECKSUM_BYTES = 8
_NAME_BYTES = 16


class Agreement(NamedTuple):
    """A user's agreement to take part.

    Attributes:
        user: a random name that stays on the device: rounds draw rows and sides by it.
        day: the last day of contact, in ISO 8601 (UTC); empty for none yet.
        transferred: bytes sent and received on that day.
    """

    user: str
    day: str = ""
    transferred: int = 0

    def checksum(self) -> bytes:
        """Of all fields."""
        return hashlib.blake2b(repr(tuple(self)).encode(), digest_size=_CHECKSUM_BYTES).digest()


class Consent:
    """The agreement that a store holds.

    Args:
        database: of the store.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def __repr__(self) -> str:
        return f"Consent({self._database.name.removeprefix('the store ')})"

    def read(self) -> Agreement | None:
        """The agreement; None where the user did not agree, or no longer agrees.

        Raises:
            StoreError: the store cannot be read.
        """
        with self._database.transaction("DEFERRED") as connection:
            return _read(connection)

    def give(self) -> None:
        """The user agrees. It is on the disk when this returns.

        Raises:
            StoreError: the store cannot be written.
        """
        with self._database.transaction() as connection:
            if _read(connection) is None:
                connection.execute(_TABLE)
                _put(connection, Agreement(os.urandom(_NAME_BYTES).hex()))

    def withdraw(self) -> None:
        """The user no longer agrees. It is on the disk when this returns, and the random name is gone.

        Raises:
            StoreError: the store cannot be written.
        """
        with self._database.transaction() as connection:
            withdraw_in(connection)

    def add_bytes(self, day: str, more: int) -> int:
        """Count bytes, and return how many were counted that day. Without an agreement nothing is kept.

        Args:
            day: in ISO 8601 (UTC).
            more: number of bytes.

        Raises:
            StoreError: the store cannot be written.
        """
        with self._database.transaction() as connection:
            agreed = _read(connection)
            if agreed is None:
                return more
            total = more + (agreed.transferred if agreed.day == day else 0)
            _put(connection, agreed._replace(day=day, transferred=total))
            return total


def withdraw_in(connection: sqlite3.Connection) -> None:
    """Delete the agreement in the caller's transaction."""
    if _exists(connection):
        connection.execute("DELETE FROM participation")


def _exists(connection: sqlite3.Connection) -> bool:
    found = connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'participation'")
    return bool(found.fetchone()[0])


def _read(connection: sqlite3.Connection) -> Agreement | None:
    if not _exists(connection):
        return None
    row = connection.execute("SELECT user, day, bytes, checksum FROM participation").fetchone()
    if row is None:
        return None
    agreement = Agreement(*row[:3])
    return agreement if row[3] == agreement.checksum() else None


def _put(connection: sqlite3.Connection, agreement: Agreement) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO participation VALUES (1, ?, ?, ?, ?)", (*agreement, agreement.checksum())
    )
