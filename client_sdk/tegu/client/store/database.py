"""A SQLite file: durable at each commit, patient with other processes, and plain about what went wrong."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from tegu.core.errors import StoreError

__all__ = ["BUSY_SECONDS", "Database"]

BUSY_SECONDS = 10.0

_REPLACE = "restore a copy of it, or delete it to start anew"
_FIXES = (
    ("unable to open", "create its folder, or choose a path that can be written"),
    ("readonly", "make the file and its folder writable, or choose another path"),
    ("not a database", "choose another path, or delete the file if it is of no use"),
    ("locked", "another process is using it; close that, or try again later"),
    ("full", "free some space and try again"),
    ("closed", "open it again"),
)


class Database:
    """One connection, for use from any thread.

    Args:
        path: the file, made readable to its owner alone where it is absent; None for a database in memory.

    Raises:
        StoreError: the file cannot be opened or written, or is not a database.
    """

    def __init__(self, path: Path | None) -> None:
        self.name = "the store in memory" if path is None else f"the store {path}"
        self._lock = threading.RLock()
        with self._explained():
            self._connection = _connect(path)

    @contextmanager
    def session(self) -> Iterator[sqlite3.Connection]:
        """The connection, for one thread at a time.

        Raises:
            StoreError: in place of what SQLite raises.
        """
        with self._lock, self._explained():
            yield self._connection

    @contextmanager
    def transaction(self, mode: Literal["IMMEDIATE", "DEFERRED"] = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """All of the block or, where it raises, none of it; DEFERRED sees one moment and is for reading.

        Raises:
            StoreError: in place of what SQLite raises.
        """
        with self.session() as connection:
            connection.execute(f"BEGIN {mode}")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def erase_deleted(self) -> None:
        """Rewrite the files so that they hold nothing that was deleted.

        Raises:
            StoreError: another process reads the file all the while; its deleted bytes may still be there.
        """
        with self.session() as connection:
            connection.execute("VACUUM")
            busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if busy:
            raise StoreError(
                f"{self.name} is being read by another process: what was deleted may still be in its files; "
                "close that process and forget again"
            )

    def close(self) -> None:
        """Close the file; closing twice does no harm."""
        with self.session() as connection:
            connection.close()

    def damaged(self, why: object) -> StoreError:
        """The error to raise where what is stored makes no sense."""
        return StoreError(f"{self.name} is damaged ({why}): {_REPLACE}")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            text = str(error)
            fix = next((fix for symptom, fix in _FIXES if symptom in text), _REPLACE)
            raise StoreError(f"{self.name} cannot be used ({text}): {fix}") from error


def _connect(path: Path | None) -> sqlite3.Connection:
    if path is not None:
        _make_private(path)
    connection = sqlite3.connect(
        ":memory:" if path is None else path,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA synchronous = FULL")
        _use_wal(connection)
        _check_writable(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _make_private(path: Path) -> None:
    # O_EXCL, because closing a handle on an open database would drop this process's locks on it.
    # What else is wrong with the path, SQLite will say.
    with suppress(OSError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _use_wal(connection: sqlite3.Connection) -> None:
    # SQLite's own busy timeout does not cover two processes that switch a new file to WAL at once.
    deadline = time.monotonic() + BUSY_SECONDS
    while not _switched_to_wal(connection, last=time.monotonic() > deadline):
        time.sleep(0.01)


def _switched_to_wal(connection: sqlite3.Connection, last: bool) -> bool:
    try:
        connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError as error:
        if last or "locked" not in str(error):
            raise
        return False
    return True


def _check_writable(connection: sqlite3.Connection) -> None:
    # SQLite opens a read-only file without a word, and would fail at the first write only.
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("PRAGMA user_version = 0")
    connection.execute("ROLLBACK")
