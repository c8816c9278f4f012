"""One user's interactions and personal state in one SQLite file."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import NamedTuple

from tegu.client.store.database import Database
from tegu.client.store.row_bytes import rows_from_bytes, rows_to_bytes
from tegu.client.store.schema import create_or_check_tables, spec_json
from tegu.core.bundle.file import tree_from_bytes, tree_to_bytes
from tegu.core.data.batch import Array
from tegu.core.data.spec import Spec, check_rows
from tegu.core.data.tree import Tree
from tegu.core.errors import BundleError, DataError, OtherModelError, StoreError

__all__ = ["Interactions", "PersonalState", "Store"]


class Interactions(NamedTuple):
    """Observed interactions, the oldest first.

    Attributes:
        x: inputs, `[rows, *spec.x.shape]`.
        y: targets, `[rows, *spec.y.shape]`.
        erasures: how often the store had been emptied when these were read.
    """

    x: Array
    y: Array
    erasures: int


class PersonalState(NamedTuple):
    """The result of an adaptation.

    Attributes:
        state: the adapted parameters.
        interactions: number of interactions adapted on.
    """

    state: Tree
    interactions: int


class Store:
    """A user's interactions and personal state. Several processes may share the file.

    Every write is one transaction, and durable when the method returns.

    Args:
        path: the file, created if absent; None keeps everything in memory.
        identity: of the model in use (`Bundle.identity`).
        spec: of that model.

    Raises:
        OtherModelError: the store was made for another model.
        StoreError: the file cannot be opened or written, is damaged, is not a store, or has another version.
    """

    def __init__(self, path: str | Path | None, identity: str, spec: Spec) -> None:
        self._spec = spec
        self._identity = identity
        self._database = Database(None if path is None else Path(path))
        try:
            with self._database.transaction() as connection:
                create_or_check_tables(connection, self._database.name, identity, spec)
                self._check_opens(connection)
        except BaseException:
            self._database.close()
            raise

    def __repr__(self) -> str:
        return f"Store({self._database.name.removeprefix('the store ')}, model={self._identity[:12]!r})"

    def count(self) -> int:
        """The number of interactions.

        Raises:
            StoreError: the store cannot be read.
        """
        with self._database.session() as connection:
            count: int = connection.execute("SELECT count(*) FROM interactions").fetchone()[0]
            return count

    def append(self, x: Array, y: Array) -> None:
        """Add rows, as returned by `check_rows`, in one transaction.

        Raises:
            StoreError: the store cannot be written; no row was added.
        """
        now = time.time()
        blobs = zip(rows_to_bytes(x, self._spec.x), rows_to_bytes(y, self._spec.y), strict=True)
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT INTO interactions (x, y, observed_at) VALUES (?, ?, ?)", ((*row, now) for row in blobs)
            )

    def load(self) -> Interactions:
        """All interactions.

        Raises:
            StoreError: the store cannot be read, or holds rows that do not fit the spec.
        """
        with self._database.transaction("DEFERRED") as connection:
            _, _, erasures = self._about(connection)
            rows = connection.execute("SELECT x, y FROM interactions ORDER BY id").fetchall()
        try:
            x = rows_from_bytes([row[0] for row in rows], self._spec.x)
            y = rows_from_bytes([row[1] for row in rows], self._spec.y)
            return Interactions(*check_rows(self._spec, x, y), erasures)
        except (DataError, TypeError) as error:
            raise self._database.damaged(error) from error

    def personal(self) -> PersonalState | None:
        """The personal state; None before the first adaptation.

        Raises:
            StoreError: the store cannot be read, or the state is damaged.
        """
        with self._database.session() as connection:
            row = connection.execute("SELECT state, interactions FROM personal").fetchone()
        try:
            return None if row is None else PersonalState(tree_from_bytes(row[0]), row[1])
        except (BundleError, TypeError) as error:
            raise self._database.damaged(error) from error

    def save_personal(self, personal: PersonalState, erasures: int) -> None:
        """Replace the personal state.

        Args:
            personal: the new state.
            erasures: `Interactions.erasures` of the interactions it was adapted on.

        Raises:
            StoreError: another process has emptied or upgraded the store since, or it cannot be written.
        """
        with self._database.transaction() as connection:
            self._check_unchanged(connection, erasures)
            _put_personal(connection, personal)

    def delete_personal(self) -> None:
        """Delete the personal state and keep the interactions.

        Raises:
            StoreError: the store cannot be written.
        """
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM personal")

    def delete_all(self) -> None:
        """Delete the personal state and all interactions; `erase_deleted` then removes their bytes from the disk.

        Raises:
            StoreError: the store cannot be written; nothing was deleted.
        """
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM personal")
            connection.execute("DELETE FROM interactions")
            connection.execute("UPDATE about SET erasures = erasures + 1")

    def erase_deleted(self) -> None:
        """Rewrite the store's files so that no deleted bytes remain in them.

        Raises:
            StoreError: another process is reading the store. Deleted rows stay deleted, but their bytes may remain
                in its files.
        """
        self._database.erase_deleted()

    def replace_model(self, identity: str, personal: PersonalState | None, erasures: int) -> None:
        """Assign the store to another model of the same spec.

        Args:
            identity: of that model.
            personal: state adapted by that model; None for no state.
            erasures: `Interactions.erasures` of the interactions it was adapted on.

        Raises:
            StoreError: another process has emptied or upgraded the store since, or it cannot be written.
        """
        with self._database.transaction() as connection:
            self._check_unchanged(connection, erasures)
            connection.execute("UPDATE about SET identity = ?", (identity,))
            connection.execute("DELETE FROM personal")
            if personal is not None:
                _put_personal(connection, personal)
        self._identity = identity

    def close(self) -> None:
        """Close the file. Closing it twice is allowed."""
        self._database.close()

    def _about(self, connection: sqlite3.Connection) -> tuple[str, str, int]:
        row: tuple[str, str, int] | None = connection.execute("SELECT identity, spec, erasures FROM about").fetchone()
        if row is None:
            raise self._database.damaged("it does not name the model it belongs to")
        return row

    def _check_opens(self, connection: sqlite3.Connection) -> None:
        identity, spec, _ = self._about(connection)
        if spec != spec_json(self._spec):
            raise OtherModelError(
                f"{self._database.name} holds rows of {spec}, but the bundle expects {spec_json(self._spec)}: "
                "use another store path"
            )
        if identity != self._identity:
            raise OtherModelError(
                f"{self._database.name} belongs to the model {identity[:12]}, but the bundle is "
                f"{self._identity[:12]}: open it with its own bundle and call "
                "Personalizer.upgrade, or use another store path"
            )

    def _check_unchanged(self, connection: sqlite3.Connection, erasures: int) -> None:
        identity, _, now = self._about(connection)
        if identity != self._identity or now != erasures:
            raise StoreError(
                f"{self._database.name} was {'upgraded' if identity != self._identity else 'emptied'} by another "
                "process in the meantime: open it again"
            )


def _put_personal(connection: sqlite3.Connection, personal: PersonalState) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO personal VALUES (1, ?, ?)",
        (tree_to_bytes(personal.state), personal.interactions),
    )
