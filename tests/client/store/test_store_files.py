"""Every way in which a file cannot be used as a store."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest
from tests.client.stores import make_store, open_store, sql

from tegu.core.errors import StoreError


def test_a_newer_schema_asks_for_a_newer_tegu(tmp_path: Path) -> None:
    make_store(tmp_path / "me.db")
    with sql(tmp_path / "me.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="schema version 99 and this Tegu reads 1 to 2: upgrade tegu"):
        open_store(tmp_path / "me.db")


def test_a_database_of_something_else_is_left_alone(tmp_path: Path) -> None:
    with sql(tmp_path / "other.db") as connection:
        connection.execute("CREATE TABLE notes (text)")
    with pytest.raises(StoreError, match="not an interaction store"):
        open_store(tmp_path / "other.db")
    with sql(tmp_path / "other.db") as connection:
        assert [row[0] for row in connection.execute("SELECT name FROM sqlite_master")] == ["notes"]


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database\n" * 500)
    with pytest.raises(StoreError, match=r"notes\.txt cannot be used \(file is not a database\): choose another path"):
        open_store(path)
    assert path.read_text() == "not a database\n" * 500


@pytest.mark.parametrize("path", ["absent/me.db", "file/me.db", "", "."])
def test_a_path_that_cannot_be_a_file(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot be used .* create its folder, or choose a path"):
        open_store(tmp_path / path)


def test_a_folder_that_cannot_be_written(
    shared_folder: Path, unprivileged: Callable[[], AbstractContextManager[None]]
) -> None:
    shared_folder.chmod(0o555)
    with unprivileged(), pytest.raises(StoreError, match="choose a path that can be written"):
        open_store(shared_folder / "me.db")
    assert not list(shared_folder.iterdir())


def test_a_file_that_cannot_be_written(
    shared_folder: Path, unprivileged: Callable[[], AbstractContextManager[None]]
) -> None:
    path = shared_folder / "me.db"
    make_store(path)
    path.chmod(0o444)
    with unprivileged(), pytest.raises(StoreError, match=r"me\.db cannot be used .* make the file and its folder writ"):
        open_store(path)


def test_damaged_pages_are_reported_when_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "me.db"
    make_store(path)
    content = bytearray(path.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"malformed.*repair_store, which keeps what is intact, or restore a backup"):
        open_store(path)


def test_a_file_cut_short_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "me.db"
    make_store(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(StoreError, match=r"me\.db"):
        open_store(path)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE interactions SET x = x'00' WHERE number = 2",
        "UPDATE interactions SET x = (SELECT x FROM interactions WHERE number = 3) WHERE number = 2",
        "UPDATE interactions SET y = 'text' WHERE number = 2",
        "UPDATE interactions SET y = x'0000c07f' WHERE number = 2",
        "UPDATE interactions SET observed_at = 0 WHERE number = 2",
        "UPDATE interactions SET id = 'other' WHERE number = 2",
        "UPDATE interactions SET number = 9 WHERE number = 2",
        "DELETE FROM interactions WHERE number = 2",
        "INSERT INTO interactions SELECT 5, id, x, y, item, label, observed_at, checksum FROM interactions LIMIT 1",
        "DELETE FROM about",
        "UPDATE about SET row_count = 3",
        "UPDATE about SET spec = '{}'",
        "UPDATE about SET erasures = x'00'",
    ],
)
def test_rows_that_make_no_sense_are_reported(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "me.db"
    make_store(path)
    with closing(open_store(path)) as store:
        with sql(path) as connection:
            connection.execute(damage)
        with pytest.raises(StoreError, match=r"me\.db is damaged"):
            store.load()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE personal SET state = x'00'",
        "UPDATE personal SET state = 'text'",
        "UPDATE personal SET state = 3",
        "UPDATE personal SET interactions = 3",
        "DELETE FROM personal",
        "UPDATE about SET personal = NULL",
    ],
)
def test_a_state_that_makes_no_sense_is_reported(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "me.db"
    make_store(path)
    with sql(path) as connection:
        connection.execute(damage)
    with pytest.raises(StoreError, match=r"me\.db is damaged"), closing(open_store(path)) as store:
        store.personal()
