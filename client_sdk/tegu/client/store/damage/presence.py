"""Whether a store's files are still those that were opened.

SQLite goes on writing to a file that was deleted, and reports success. Its files are therefore looked at before and
after every transaction. A store never gets shorter while it is open, except when deleted bytes are erased; its
write-ahead log is deleted only when the last process closes it.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from tegu.client.store.damage.pages import logged_pages
from tegu.core.errors import StoreError

__all__ = ["Presence"]

_LOG = "-wal"


class _Seen(NamedTuple):
    device: int
    inode: int
    size: int

    def is_same(self, other: _Seen) -> bool:
        return self[:2] == other[:2]


class Presence:
    """The files of one open database.

    Args:
        path: the database's file.
        name: of the store, for messages.
        connection: to it; it has read or written once, so that the log exists.
    """

    def __init__(self, path: Path, name: str, connection: sqlite3.Connection) -> None:
        self._path, self._name = path, name
        self._page_size = int(connection.execute("PRAGMA page_size").fetchone()[0])
        self._file, self._log = self._look(path), self._look(Path(f"{path}{_LOG}"))

    def check(self, connection: sqlite3.Connection) -> None:
        """Check that the files are there and as long as they must be. Runs in a transaction.

        Raises:
            StoreError: one is gone, was replaced or was cut.
        """
        file, log = self._look(self._path), self._look(Path(f"{self._path}{_LOG}"))
        if file is None or self._file is None or not file.is_same(self._file):
            raise self._gone("its file was deleted or replaced")
        if self._log is not None and (log is None or not log.is_same(self._log)):
            raise self._gone("its write-ahead log was deleted or replaced")
        if file.size < self._file.size and file.size < self._page_size * _pages(connection):
            raise self._gone("its file was cut")
        if log is not None and self._log is not None and log.size < self._log.size:
            self._check_log(connection, log)
        self._file, self._log = file, log

    def _check_log(self, connection: sqlite3.Connection, log: _Seen) -> None:
        """A shorter log is right where deleted bytes were erased: the newest commit is then in the file or the log."""
        (newest,) = connection.execute("SELECT checksum FROM about").fetchone()
        pages = logged_pages(Path(f"{self._path}{_LOG}").read_bytes(), self._page_size)
        if newest != self._in_file() and not any(newest in page for page in pages.values()):
            raise self._gone(f"its write-ahead log was cut to {log.size} bytes")

    def _in_file(self) -> object:
        """The checksum of the newest commit in the file itself, without the log.

        SQLite reads it, because closing a handle of our own would release this process's locks on the file.
        """
        with closing(sqlite3.connect(f"{self._path.absolute().as_uri()}?immutable=1", uri=True)) as alone:
            try:
                found = alone.execute("SELECT checksum FROM about").fetchone()
            except sqlite3.Error:
                return None
        return None if found is None else found[0]

    def _look(self, path: Path) -> _Seen | None:
        try:
            status = os.stat(path)  # noqa: PTH116 # twice as fast as Path.stat, and called with every interaction
        except OSError:
            return None
        return _Seen(status.st_dev, status.st_ino, status.st_size)

    def _gone(self, what: str) -> StoreError:
        return StoreError(
            f"{self._name} cannot be used: {what} by something else while it was open, so what is written now would be "
            "lost, and nothing was; close it, restore the file from a backup, or open it again to start anew"
        )


def _pages(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA page_count").fetchone()[0])
