"""A new store from the intact records of a damaged one."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from tegu.client.store.columns import columns_digest
from tegu.client.store.damage.loss import lost_between
from tegu.client.store.damage.pages import Record, records_in
from tegu.client.store.database import checked_path
from tegu.client.store.reading import decode_rows
from tegu.client.store.records import About, Row, state_checksum
from tegu.client.store.schema import create_tables, insert_rows, put_about, put_personal, spec_from_json, spec_json
from tegu.core.bundle.file import Bundle, BundleSource, read_bundle
from tegu.core.data.spec import Spec
from tegu.core.errors import DataError, StoreError

__all__ = ["Repaired", "repair_store"]


class Repaired(NamedTuple):
    """What `repair_store` found.

    Attributes:
        kept: interactions in the repaired store.
        lost: interactions that were damaged; None where the store no longer says how many there were.
        state_kept: whether the personal state is intact; without it, call `Personalizer.adapt`.
        damaged: where the damaged file lies now; delete it when it is of no more use.
        message: all of it in words.
    """

    kept: int
    lost: int | None
    state_kept: bool
    damaged: Path
    message: str


class _Found(NamedTuple):
    about: About | None
    rows: dict[int, Row]
    personal: tuple[bytes, int] | None


def repair_store(path: str | Path, bundle: BundleSource | Bundle | None = None) -> Repaired:
    """Replace a damaged store by a new one that holds the intact interactions, and keep the damaged file beside it.

    Close the store in all processes first. An interaction is kept where its checksum fits. Of a store that is whole,
    all interactions and the state are kept. An agreement to take part in a federation is not: ask the user again.

    Args:
        path: the store's file.
        bundle: the bundle that the store belongs to, as in `Personalizer.open`. Needed only where the store no longer
            says which one it is.

    Raises:
        StoreError: the file cannot be read or written, or nothing of a store is left in it.
        BundleError: the bundle cannot be read.
    """
    file = checked_path(path)
    try:
        found = _found_in(records_in(file))
    except (OSError, ValueError) as error:
        raise StoreError(f"the store {file} cannot be read ({error}): check the path") from error
    if found.about is None and not found.rows:
        raise StoreError(f"nothing of a store is left in {file}: restore a backup, or delete the file to start again")
    about = found.about or _about_of(bundle, file)
    spec = spec_from_json(about.spec)
    rows = _fitting(found.rows, spec)
    personal = found.personal if found.about is not None else None
    try:
        damaged = _replaced(file, about, rows, personal)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(
            f"the store {file} cannot be repaired ({error}): free some space in its folder and try again; the damaged "
            "file is still there"
        ) from error
    lost = None if found.about is None else found.about.row_count - len(rows)
    return Repaired(len(rows), lost, personal is not None, damaged, _message(rows, found.about, personal, damaged))


def _found_in(records: Iterable[Record]) -> _Found:
    about: About | None = None
    personal, rows = dict[bytes, tuple[bytes, int]](), dict[int, Row]()
    for rowid, values in records:
        match values:
            case (None, _, bytes(), bytes(), _, _, float(), bytes()):
                row = Row(rowid, *values[1:])  # type: ignore[arg-type] # `is_intact` sees values of other types
                rows |= {rowid: row} if row.is_intact() else {}
            case (None, str(), str(), _, _, _, _, _, _, bytes()):
                description = About(*values[1:])  # type: ignore[arg-type] # `is_intact`, again
                about = description if description.is_intact() else about
            case (None, bytes() as state, int() as interactions):
                personal[state_checksum(state, interactions)] = (state, interactions)
    return _Found(about, rows, personal.get(about.personal or b"") if about else None)


def _about_of(bundle: BundleSource | Bundle | None, file: Path) -> About:
    if bundle is None:
        raise StoreError(
            f"the store {file} no longer says which bundle it belongs to: pass it, repair_store(path, bundle)"
        )
    read = bundle if isinstance(bundle, Bundle) else read_bundle(bundle)
    return About(read.identity, spec_json(read.manifest.spec), columns_digest(read.manifest), 0, 0, 0, bytes(8), None)


def _fitting(rows: dict[int, Row], spec: Spec) -> list[Row]:
    """The rows that fit the spec, by number. A store that was migrated may hold others."""
    ordered = [rows[number] for number in sorted(rows)]
    with suppress(DataError, TypeError):
        decode_rows(ordered, spec)
        return ordered
    return [row for row in ordered if _fits(row, spec)]


def _fits(row: Row, spec: Spec) -> bool:
    try:
        decode_rows([row], spec)
    except (DataError, TypeError):
        return False
    return True


def _replaced(file: Path, before: About, rows: list[Row], personal: tuple[bytes, int] | None) -> Path:
    """Write the new store beside the damaged one, keep that under another name, and put the new one in its place."""
    new = _unused(file, "repaired")
    about = before._replace(erasures=before.erasures + 1, row_count=0, total=bytes(8), personal=None)
    about = about.with_rows(rows, [])
    try:
        os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        with closing(sqlite3.connect(new)) as connection, connection:
            connection.execute("PRAGMA synchronous = FULL")
            create_tables(connection)
            insert_rows(connection, rows)
            if personal is not None:
                put_personal(connection, *personal)
                about = about._replace(personal=state_checksum(*personal))
            put_about(connection, about)
        damaged = _unused(file, "damaged")
        _keep(file, damaged)
        new.replace(file)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    return damaged


def _keep(file: Path, damaged: Path) -> None:
    """Give the damaged file a second name, under which it stays when the first one is taken from it."""
    try:
        damaged.hardlink_to(file)
    except OSError:  # a file system without hard links
        damaged.write_bytes(file.read_bytes())
    for suffix in ("-wal", "-shm"):  # a log that is left would be applied to the new file
        part = Path(f"{file}{suffix}")
        if part.exists():
            part.replace(f"{damaged}{suffix}")


def _unused(file: Path, word: str) -> Path:
    number = 1
    while (candidate := Path(f"{file}.{word}{'' if number == 1 else f'-{number}'}")).exists():
        number += 1
    return candidate


def _message(rows: list[Row], before: About | None, personal: object, damaged: Path) -> str:
    kept = f"{len(rows)} interactions were kept"
    if before is None:
        lost = "how many there were is not known"
    elif before.row_count == len(rows):
        lost = "none was lost"
    else:
        lost = f"{before.row_count - len(rows)} of {before.row_count} were lost, {lost_between(rows, before.last)}"
    state = "" if personal else " There is no personal state: call adapt."
    return f"{kept}, and {lost}.{state} The damaged file is {damaged}."
