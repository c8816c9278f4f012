"""One user's interactions and personal state in one SQLite file."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from tegu.client.consent import Consent, withdraw_in
from tegu.client.store.append import merge_rows
from tegu.client.store.catalogue import with_larger_catalogue
from tegu.client.store.damage.faults import is_damage
from tegu.client.store.database import Database, checked_path
from tegu.client.store.group_commit import GroupCommit
from tegu.client.store.ids import number_of
from tegu.client.store.interactions import Observed, OnRepeat, Removed
from tegu.client.store.owner import check_owner
from tegu.client.store.reading import StoredRows, read_newest, read_rows
from tegu.client.store.records import SELECT_ABOUT, SELECT_ROWS, About, Row, state_checksum, subtracted
from tegu.client.store.row_bytes import rows_to_bytes
from tegu.client.store.schema import (
    insert_rows,
    open_tables,
    put_about,
    put_personal,
    spec_from_json,
    spec_json,
)
from tegu.core.bundle.file import tree_from_bytes, tree_to_bytes
from tegu.core.data.batch import Array
from tegu.core.data.spec import Spec
from tegu.core.data.tree import Tree
from tegu.core.errors import BundleError, DataError, StoreError

__all__ = ["PersonalState", "Store", "check_store_path"]

_IN_MEMORY = ":memory:"  # SQLite's own name for it


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

    Every write is one transaction, and durable when the method returns. What is read is verified by checksums.

    Args:
        path: the file, created if absent; None or ":memory:" keeps everything in memory.
        identity: of the model in use (`Bundle.identity`).
        spec: of that model.
        encoding: of that model (`columns_digest`).
        adopt: open a store of another model, too, if the specs differ in the catalogue at most; `replace_model` then
            assigns it.

    Raises:
        OtherModelError: the store was made for another model.
        StoreError: the file cannot be opened or written, is damaged, is not a store, or has another version.
    """

    def __init__(
        self, path: str | Path | None, identity: str, spec: Spec, encoding: str | None = None, *, adopt: bool = False
    ) -> None:
        self._identity, self._spec = identity, spec
        self._database = Database(check_store_path(path))
        self._group = GroupCommit(self._database)
        try:
            with self._database.transaction() as connection:
                if open_tables(connection, self._database.name, identity, spec, encoding):
                    from tegu.client.store.migration import migrate  # noqa: PLC0415 # rarely needed

                    migrate(connection, self._database.name)
                about = self._about(connection)
                check_owner(self._database.name, about, identity, spec, encoding, adopt=adopt)
                self._identity = about.identity
        except BaseException:
            self._database.close()
            raise

    def __repr__(self) -> str:
        return f"Store({self._database.name.removeprefix('the store ')}, model={self._identity[:12]!r})"

    def __reduce__(self) -> NoReturn:
        raise StoreError(f"{self._database.name} cannot be pickled or copied: open it again where it is needed")

    @property
    def identity(self) -> str:
        """The identity of the model that the store belongs to."""
        return self._identity

    @property
    def path(self) -> Path | None:
        """The file; None for a store in memory."""
        return self._database.path

    @property
    def consent(self) -> Consent:
        """Whether the user agreed to take part in a federation."""
        return Consent(self._database)

    def count(self) -> int:
        """The number of interactions.

        Raises:
            StoreError: the store cannot be read.
        """
        with self._database.transaction("DEFERRED") as connection:
            return self._about(connection).row_count

    def append(
        self,
        x: Array,
        y: Array,
        *,
        ids: Sequence[str] | None = None,
        items: Sequence[str] | None = None,
        labels: Sequence[str] | None = None,
        on_repeat: OnRepeat = "replace",
    ) -> Observed:
        """Add rows, as returned by `check_rows`, in one transaction, perhaps together with other threads' rows.

        Args:
            x: inputs.
            y: targets.
            ids: one for each row; None for rows without an id.
            items: the item of each row as JSON, where the bundle names its items.
            labels: the label of each row as JSON, where the bundle names its labels.
            on_repeat: whether a row whose id is stored replaces the stored one, in its place, or is left out.

        Raises:
            StoreError: the store cannot be written; no row was added.
        """
        absent, now = [None] * len(x), time.time()
        blobs = rows_to_bytes(x, self._spec.x), rows_to_bytes(y, self._spec.y)
        columns = (ids or absent, *blobs, items or absent, labels or absent)
        new = [Row(0, *parts, now) for parts in zip(*columns, strict=True)]

        def write(connection: sqlite3.Connection) -> Observed:
            about = self._about(connection)
            known = {each: row for each in set(ids or ()) if (row := self._find(connection, each)) is not None}
            merged = merge_rows(new, known, about.last, on_repeat)
            insert_rows(connection, merged.rows)
            after = about.with_rows(merged.rows, merged.outdated)
            if merged.rows:
                put_about(connection, after)
            return Observed(merged.added, merged.replaced, merged.ignored, after.row_count)

        return self._group.run(write)

    def load(self, newest: int | None = None) -> StoredRows:
        """All interactions, or the newest so many of them.

        Raises:
            StoreError: the store cannot be read, or rows are damaged; the message says how many, and of when.
        """
        try:
            with self._database.transaction("DEFERRED") as connection:
                about = self._about(connection)
                spec = spec_from_json(about.spec)
                if newest is not None:
                    return read_newest(connection, about, spec, newest)
                return read_rows(connection, about, spec)
        except (DataError, TypeError) as error:
            raise self._rows_damaged(error) from error
        except StoreError as error:
            if isinstance(error.__cause__, Exception) and is_damage(error.__cause__):
                raise self._rows_damaged(error.__cause__) from error
            raise

    def personal(self) -> PersonalState | None:
        """The personal state; None before the first adaptation.

        Raises:
            StoreError: the store cannot be read, or the state is damaged.
        """
        with self._database.transaction("DEFERRED") as connection:
            about = self._about(connection)
            row = connection.execute("SELECT state, interactions FROM personal").fetchone()
        try:
            if (None if row is None else state_checksum(*row)) != about.personal:
                raise self._database.damaged("the personal state is not the one that was written")
            return None if row is None else PersonalState(tree_from_bytes(row[0]), row[1])
        except (BundleError, TypeError) as error:
            raise self._database.damaged(error) from error

    def save_personal(self, personal: PersonalState, erasures: int) -> None:
        """Replace the personal state.

        Args:
            personal: the new state.
            erasures: `StoredRows.erasures` of the interactions it was adapted on.

        Raises:
            StoreError: another process has erased rows or upgraded the store since, or it cannot be written.
        """
        with self._database.transaction() as connection:
            put_about(connection, _put(connection, self._unchanged(connection, erasures), personal))

    def delete_personal(self) -> None:
        """Delete the personal state and keep the interactions.

        Raises:
            StoreError: the store cannot be written.
        """
        with self._database.transaction() as connection:
            put_about(connection, _put(connection, self._about(connection), None))

    def delete_all(self) -> None:
        """Delete the personal state, all interactions and the consent.

        `erase_deleted` then removes their bytes from the disk.

        Raises:
            StoreError: the store cannot be written; nothing was deleted.
        """
        with self._database.transaction() as connection:
            about = _put(connection, self._about(connection), None)
            connection.execute("DELETE FROM interactions")
            withdraw_in(connection)
            put_about(connection, about._replace(erasures=about.erasures + 1, row_count=0, total=bytes(8)))

    def delete_rows(self, ids: Iterable[str]) -> Removed:
        """Delete interactions and, if there were any, the personal state, which was adapted to them.

        Args:
            ids: as `Interactions.ids` gives them.

        Raises:
            StoreError: the store cannot be written; nothing was deleted.
        """
        with self._database.transaction() as connection:
            about = self._about(connection)
            rows = [row for each in set(ids) if (row := self._find(connection, each)) is not None]
            if rows:
                connection.executemany("DELETE FROM interactions WHERE number = ?", [(row.number,) for row in rows])
                about = _put(connection, about, None)
                total = subtracted(about.total, (row.checksum for row in rows))
                about = about._replace(erasures=about.erasures + 1, row_count=about.row_count - len(rows), total=total)
                put_about(connection, about)
        return Removed(len(rows), about.row_count)

    def erase_deleted(self) -> None:
        """Rewrite the store's files so that no deleted bytes remain in them.

        Raises:
            StoreError: another process is reading the store. Deleted rows stay deleted, but their bytes may remain
                in its files.
        """
        self._database.erase_deleted()

    def replace_model(self, identity: str, spec: Spec, personal: PersonalState | None, erasures: int) -> None:
        """Assign the store to another model.

        Args:
            identity: of that model.
            spec: of that model; it differs from the store's in the catalogue at most.
            personal: state adapted by that model; None for no state.
            erasures: `StoredRows.erasures` of the interactions it was adapted on.

        Raises:
            StoreError: another process has erased rows or upgraded the store since, or it cannot be written.
        """
        with self._database.transaction() as connection:
            about = _put(connection, self._unchanged(connection, erasures), personal)
            widest = spec_json(with_larger_catalogue(spec_from_json(about.spec), spec))
            put_about(connection, about._replace(identity=identity, spec=widest))
        self._identity, self._spec = identity, spec

    def close(self) -> None:
        """Close the file. Closing it twice is allowed."""
        self._database.close()

    def _about(self, connection: sqlite3.Connection) -> About:
        row = connection.execute(SELECT_ABOUT).fetchone()
        about = None if row is None else About(*row)
        if about is None or not about.is_intact():
            raise self._database.damaged("what it says about its model and its rows is not what was written")
        return about

    def _find(self, connection: sqlite3.Connection, wanted: str) -> Row | None:
        number = number_of(wanted)
        where = " WHERE id = ?" if number is None else " WHERE id IS NULL AND number = ?"
        found = connection.execute(SELECT_ROWS + where, (wanted if number is None else number,)).fetchone()
        row = None if found is None else Row(*found)
        if row is not None and not isinstance(row.checksum, bytes):
            raise self._database.damaged("a row has no checksum")
        return row

    def _unchanged(self, connection: sqlite3.Connection, erasures: int) -> About:
        about = self._about(connection)
        if about.identity != self._identity or about.erasures != erasures:
            how = "upgraded" if about.identity != self._identity else "emptied"
            if how == "emptied" and about.row_count:
                how = "changed, since interactions were removed,"
            raise StoreError(f"{self._database.name} was {how} by another process in the meantime: open it again")
        return about

    def _rows_damaged(self, error: Exception) -> StoreError:
        from tegu.client.store.damage.loss import describe_loss  # noqa: PLC0415 # rarely needed

        with self._database.session() as connection:
            return self._database.damaged(describe_loss(connection, error))


def check_store_path(path: object) -> Path | None:
    """The path of a store's file; None for a store in memory.

    Raises:
        StoreError: it is no path.
    """
    return None if path is None or str(path) == _IN_MEMORY else checked_path(path)


def _put(connection: sqlite3.Connection, about: About, personal: PersonalState | None) -> About:
    """Write or delete the personal state; the result is to be written."""
    if personal is None:
        connection.execute("DELETE FROM personal")
        return about._replace(personal=None)
    blob = tree_to_bytes(personal.state)
    put_personal(connection, blob, personal.interactions)
    return about._replace(personal=state_checksum(blob, personal.interactions))
