"""A SQLite file: durable at each commit, shared by processes, with errors that name the fix."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from tegu.client.forks import survives_forks
from tegu.client.store.damage.faults import REPAIR, fix_for
from tegu.client.store.damage.presence import Presence
from tegu.core.errors import StoreError

__all__ = ["BUSY_SECONDS", "Database", "checked_path"]

BUSY_SECONDS = 10.0
_POLL_SECONDS = 0.001

# A damaged file can claim a text that is none, or a length that no memory holds.
_FAULTS = (sqlite3.Error, OSError, MemoryError, UnicodeError, OverflowError)


class Database:
    """One connection, usable from any thread.

    Attributes:
        name: of the store, for messages.
        path: the file; None for a database in memory.

    Args:
        path: the file. If absent, it is created readable by its owner alone. None for a database in memory.

    Raises:
        StoreError: the file cannot be opened or written, or is not a database.
    """

    def __init__(self, path: Path | None) -> None:
        self.name = "the store in memory" if path is None else f"the store {path}"
        self.path = path
        self._lock = threading.RLock()
        self._quiet = self._inherited = False
        with self._explained():
            self._open()
        survives_forks(self)

    def _open(self) -> None:
        self._connection = _connect(self.path)
        self._presence = None if self.path is None else Presence(self.path, self.name, self._connection)

    @contextmanager
    def session(self) -> Iterator[sqlite3.Connection]:
        """The connection, held by one thread at a time.

        Raises:
            StoreError: for every SQLite error in the block.
        """
        with self._lock, self._explained():
            if self._inherited:
                self._open_in_child()
            yield self._connection

    @contextmanager
    def transaction(self, mode: Literal["IMMEDIATE", "DEFERRED"] = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """A transaction that commits at the end of the block, or rolls back where the block raises.

        Args:
            mode: IMMEDIATE for writing; DEFERRED for reading a consistent snapshot.

        Raises:
            StoreError: for every SQLite error in the block, and where the file is no longer the one that was opened.
        """
        with self.session() as connection:
            if mode == "IMMEDIATE":
                _begin_writing(connection)
            else:
                connection.execute("BEGIN DEFERRED")
            try:
                self._check_presence()
                yield connection
                connection.execute("COMMIT")
                if mode == "IMMEDIATE":
                    self._check_presence()
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def erase_deleted(self) -> None:
        """Rewrite the files so that no deleted bytes remain in them.

        Raises:
            StoreError: another process is reading the file, so that deleted bytes may remain in it.
        """
        with self.session() as connection:
            connection.execute("VACUUM")
            busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if busy:
            raise StoreError(
                f"{self.name} is being read by another process, so deleted bytes may remain in its files: "
                "close that process and call forget again, or remove with the same ids"
            )

    def close(self) -> None:
        """Close the file. Closing it twice is allowed."""
        with self._lock, self._explained():
            if self._quiet or not self._inherited:
                self._connection.close()

    def before_fork(self) -> None:
        """Wait until no thread is at work in SQLite; see `tegu.client.forks`."""
        self._quiet = self._lock.acquire(timeout=BUSY_SECONDS)

    def after_fork_in_parent(self) -> None:
        """Let other threads go on."""
        if self._quiet:
            self._lock.release()

    def after_fork_in_child(self) -> None:
        """Begin with a new lock. A connection to a file is not for two processes, so the next use opens another."""
        self._lock = threading.RLock()
        self._inherited = self.path is not None or not self._quiet

    def _open_in_child(self) -> None:
        # Closing the inherited connection first matters: SQLite keeps its locks on a file by process.
        if not self._quiet or self._connection.in_transaction:
            raise StoreError(f"{self.name} was in use while this process was forked: open it again in this process")
        self._connection.close()
        self._open()
        self._inherited = False

    def _check_presence(self) -> None:
        if self._presence is not None:
            self._presence.check(self._connection)

    def damaged(self, why: object) -> StoreError:
        """The error for stored data that is not valid."""
        return StoreError(f"{self.name} is damaged ({why}): {REPAIR}")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except _FAULTS as error:
            raise StoreError(f"{self.name} cannot be used ({error}): {fix_for(error, self.path)}") from error


def checked_path(path: object) -> Path:
    """The path of a database's file.

    Raises:
        StoreError: it is no path.
    """
    if not isinstance(path, str | os.PathLike) or "\0" in str(path):
        raise StoreError(f"the store's path is {path!r}: expected the path of a file, without NUL; choose another")
    return Path(path)


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
        # SQLite's busy timeout does not cover two processes that switch a new file to WAL at the same time.
        _once_unlocked(connection, "PRAGMA journal_mode = WAL")
        _check_writable(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _begin_writing(connection: sqlite3.Connection) -> None:
    # SQLite's own wait tries every 100 ms, so another process that writes without a pause can keep it out for seconds.
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        _once_unlocked(connection, "BEGIN IMMEDIATE")
    finally:
        connection.execute(f"PRAGMA busy_timeout = {max(0, round(BUSY_SECONDS * 1000))}")


def _once_unlocked(connection: sqlite3.Connection, statement: str) -> None:
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute(statement)
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)
        else:
            return


def _make_private(path: Path) -> None:
    # O_EXCL, because closing a handle on an open database would release this process's locks on it.
    # SQLite reports every other fault of the path.
    with suppress(OSError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _check_writable(connection: sqlite3.Connection) -> None:
    # SQLite opens a read-only file without an error and fails only at the first write.
    _begin_writing(connection)
    connection.execute("PRAGMA user_version = 0")
    connection.execute("ROLLBACK")
