"""Writes of several threads in one transaction, so that one wait for the disk serves all of them.

A commit lasts as long as the disk takes to write, some milliseconds, and a store has one at a time. The writes that
arrive meanwhile are committed together by the first of their threads. Each returns when it is on the disk.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from tegu.client.forks import survives_forks
from tegu.client.store.database import Database

__all__ = ["GroupCommit"]

T = TypeVar("T")


class _Write(Generic[T]):
    """One thread's write, and what came of it."""

    def __init__(self, work: Callable[[sqlite3.Connection], T]) -> None:
        self.work = work
        self.results: list[T] = []
        self.error: Exception | None = None

    @property
    def is_done(self) -> bool:
        return bool(self.results) or self.error is not None


class GroupCommit:
    """Writes to one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._gate = threading.Lock()
        self._waiting: list[_Write[object]] = []
        survives_forks(self)

    def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do `work` in a transaction, perhaps together with other threads' work, and return its result once durable.

        Args:
            work: writes through the connection. It may be called twice, where another's work in its group failed.

        Raises:
            StoreError: as `Database.transaction`; also what `work` raises. Nothing of this `work` was written then.
        """
        own = _Write(work)
        with self._gate:
            self._waiting.append(own)  # type: ignore[arg-type] # results are read by their own thread alone
        with self._database.session():
            if not own.is_done:
                self._commit_waiting()
        if own.error is not None:
            raise own.error
        return own.results[0]

    def before_fork(self) -> None:
        """Nothing to wait for."""

    def after_fork_in_parent(self) -> None:
        """Nothing to do."""

    def after_fork_in_child(self) -> None:
        """Forget the writes of the parent's threads, which the parent does."""
        self._gate, self._waiting = threading.Lock(), []

    def _commit_waiting(self) -> None:
        with self._gate:
            group, self._waiting = self._waiting, []
        try:
            self._commit(group)
        except Exception as error:  # of whichever write it was
            if len(group) == 1:
                group[0].error = error
                return
            for write in group:
                self._commit_alone(write)

    def _commit(self, group: list[_Write[object]]) -> None:
        with self._database.transaction() as connection:
            results = [write.work(connection) for write in group]
        for write, result in zip(group, results, strict=True):
            write.results.append(result)

    def _commit_alone(self, write: _Write[object]) -> None:
        try:
            self._commit([write])
        except Exception as error:  # reported to the thread whose write it is
            write.error = error
