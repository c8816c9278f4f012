"""The store: what it keeps, and every way in which a file cannot be used."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from tegu.client import Store, database
from tegu.client.store import Personal
from tegu.core.errors import OtherModelError, StoreError
from tegu.core.spec import Spec

SPEC = Spec.regression((3,))
X = np.arange(12, dtype=np.float32).reshape(4, 3)
Y = np.arange(4, dtype=np.float32)[:, None]
STATE = {"weight": np.array([[1.5, -2.0]], np.float32), "bias": np.array(3.0, np.float32)}


def _open(path: Path | None, identity: str = "a", spec: Spec = SPEC) -> Store:
    return Store(path, identity, spec)


def _make(path: Path) -> None:
    with closing(_open(path)) as store:
        store.append(X, Y)
        store.save_personal(Personal(STATE, 4), 0)


@contextmanager
def _sql(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path)) as connection, connection:
        yield connection


@pytest.mark.parametrize("in_memory", [True, False])
def test_what_is_stored_comes_back(tmp_path: Path, in_memory: bool) -> None:
    with closing(_open(None if in_memory else tmp_path / "me.db")) as store:
        assert store.personal() is None
        assert store.load().x.shape == (0, 3)
        store.append(X[:1], Y[:1])
        store.append(X[1:], Y[1:])
        rows = store.load()
        np.testing.assert_array_equal(rows.x, X)
        np.testing.assert_array_equal(rows.y, Y)
        assert (rows.x.dtype, rows.y.dtype, store.count()) == (np.float32, np.float32, 4)
        store.save_personal(Personal(STATE, 4), rows.erasures)
        found = store.personal()
    assert found is not None
    assert found.interactions == 4
    for name, value in STATE.items():
        np.testing.assert_array_equal(found.state[name], value)


def test_ids_and_scalars_come_back(tmp_path: Path) -> None:
    spec = Spec.ranking(1000)
    x, y = np.array([7, 999, 7]), np.array([1, 0.5, 2], np.float32)
    with closing(_open(tmp_path / "me.db", spec=spec)) as store:
        store.append(x, y)
    with closing(_open(tmp_path / "me.db", spec=spec)) as store:
        rows = store.load()
    np.testing.assert_array_equal(rows.x, x)
    np.testing.assert_array_equal(rows.y, y)
    assert rows.x.dtype == np.int64


def test_the_time_of_an_interaction_is_kept(tmp_path: Path) -> None:
    before = time.time()
    _make(tmp_path / "me.db")
    with _sql(tmp_path / "me.db") as connection:
        times = [row[0] for row in connection.execute("SELECT observed_at FROM interactions")]
    assert len(times) == 4
    assert all(before <= seconds <= time.time() for seconds in times)


def test_a_store_is_durable_and_private(tmp_path: Path) -> None:
    with closing(_open(tmp_path / "me.db")) as store, store._database.session() as connection:
        pragmas = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")}
    assert pragmas == {"journal_mode": "wal", "synchronous": 2}
    assert stat.S_IMODE((tmp_path / "me.db").stat().st_mode) == 0o600


def test_rows_are_added_together_or_not_at_all(tmp_path: Path) -> None:
    with closing(_open(tmp_path / "me.db")) as store:
        with store._database.session() as connection:
            connection.execute(
                "CREATE TEMP TRIGGER fail BEFORE INSERT ON main.interactions WHEN (SELECT count(*) FROM interactions)"
                " = 2 BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END"
            )
        with pytest.raises(StoreError, match="free some space"):
            store.append(X, Y)
        assert store.count() == 0
        store.append(X[:2], Y[:2])
        assert store.count() == 2


def test_another_model_is_refused(tmp_path: Path) -> None:
    _make(tmp_path / "me.db")
    with pytest.raises(OtherModelError, match="was made for the model a"):
        _open(tmp_path / "me.db", identity="b")
    with pytest.raises(OtherModelError, match="holds rows of"):
        _open(tmp_path / "me.db", spec=Spec.ranking(3))
    with closing(_open(tmp_path / "me.db")) as store:
        assert store.count() == 4


def test_replacing_the_model_keeps_the_interactions(tmp_path: Path) -> None:
    _make(tmp_path / "me.db")
    with closing(_open(tmp_path / "me.db")) as store:
        store.replace_model("b", None, 0)
        store.save_personal(Personal(STATE, 4), 0)
    with closing(_open(tmp_path / "me.db", identity="b")) as store:
        assert store.count() == 4
        assert store.personal() is not None


def test_a_newer_schema_asks_for_a_newer_tegu(tmp_path: Path) -> None:
    _make(tmp_path / "me.db")
    with _sql(tmp_path / "me.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="schema version 99 and this Tegu reads 1: upgrade tegu"):
        _open(tmp_path / "me.db")


def test_a_database_of_something_else_is_left_alone(tmp_path: Path) -> None:
    with _sql(tmp_path / "other.db") as connection:
        connection.execute("CREATE TABLE notes (text)")
    with pytest.raises(StoreError, match="database of something else"):
        _open(tmp_path / "other.db")
    with _sql(tmp_path / "other.db") as connection:
        assert [row[0] for row in connection.execute("SELECT name FROM sqlite_master")] == ["notes"]


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database\n" * 500)
    with pytest.raises(StoreError, match=r"notes\.txt cannot be used \(file is not a database\): choose another path"):
        _open(path)
    assert path.read_text() == "not a database\n" * 500


@pytest.mark.parametrize("path", ["absent/me.db", "file/me.db", "", "."])
def test_a_path_that_cannot_be_a_file(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be used .* create its folder, or choose a path"):
        _open(tmp_path / path)


def test_a_folder_that_cannot_be_written(
    shared_folder: Path, unprivileged: Callable[[], AbstractContextManager[None]]
) -> None:
    shared_folder.chmod(0o555)
    with unprivileged(), pytest.raises(StoreError, match="choose a path that can be written"):
        _open(shared_folder / "me.db")
    assert not list(shared_folder.iterdir())


def test_a_file_that_cannot_be_written(
    shared_folder: Path, unprivileged: Callable[[], AbstractContextManager[None]]
) -> None:
    path = shared_folder / "me.db"
    _make(path)
    path.chmod(0o444)
    with unprivileged(), pytest.raises(StoreError, match=r"me\.db cannot be used .* make the file and its folder writ"):
        _open(path)


def test_damaged_pages_are_reported_when_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "me.db"
    _make(path)
    content = bytearray(path.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(StoreError, match="restore a copy of it, or delete it to start anew"):
        _open(path)


def test_a_file_cut_short_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "me.db"
    _make(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(StoreError, match=r"me\.db"):
        _open(path)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE interactions SET x = x'00' WHERE id = 2",
        "UPDATE interactions SET y = 'text' WHERE id = 2",
        "UPDATE interactions SET y = x'0000c07f' WHERE id = 2",
        "DELETE FROM about",
    ],
)
def test_rows_that_make_no_sense_are_reported(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "me.db"
    _make(path)
    with closing(_open(path)) as store:
        with _sql(path) as connection:
            connection.execute(damage)
        with pytest.raises(StoreError, match=r"me\.db is damaged"):
            store.load()


@pytest.mark.parametrize("state", ["x'00'", "'text'", "3"])
def test_a_state_that_makes_no_sense_is_reported(tmp_path: Path, state: str) -> None:
    path = tmp_path / "me.db"
    _make(path)
    with _sql(path) as connection:
        connection.execute(f"UPDATE personal SET state = {state}")
    with closing(_open(path)) as store, pytest.raises(StoreError, match=r"me\.db is damaged"):
        store.personal()


def test_a_writer_waits_for_its_turn(tmp_path: Path) -> None:
    path = tmp_path / "me.db"
    _make(path)
    with closing(_open(path)) as store, closing(sqlite3.connect(path, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.2, other.rollback)
        release.start()
        store.append(X, Y)
        release.join()
        assert store.count() == 8


def test_a_writer_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "me.db"
    _make(path)
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    with closing(_open(path)) as store, closing(sqlite3.connect(path)) as other:
        assert store.count() == 4
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="another process is using it"):
            store.append(X, Y)
        other.rollback()
        assert store.count() == 4
