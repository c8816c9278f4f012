"""What the store keeps, and how it shares its file."""

from __future__ import annotations

import functools
import sqlite3
import stat
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from tests.client.stores import SPEC, STATE, X, Y, make_store, open_store, sql

from tegu.client.store import database
from tegu.client.store.store import PersonalState
from tegu.core.data.spec import Spec
from tegu.core.errors import OtherModelError, StoreError


@pytest.mark.parametrize("in_memory", [True, False])
def test_what_is_stored_comes_back(tmp_path: Path, in_memory: bool) -> None:
    with closing(open_store(None if in_memory else tmp_path / "me.db")) as store:
        assert store.personal() is None
        assert store.load().x.shape == (0, 3)
        store.append(X[:1], Y[:1])
        store.append(X[1:], Y[1:])
        rows = store.load()
        np.testing.assert_array_equal(rows.x, X)
        np.testing.assert_array_equal(rows.y, Y)
        assert (rows.x.dtype, rows.y.dtype, store.count()) == (np.float32, np.float32, 4)
        store.save_personal(PersonalState(STATE, 4), rows.erasures)
        found = store.personal()
    assert found is not None
    assert found.interactions == 4
    for name, value in STATE.items():
        np.testing.assert_array_equal(found.state[name], value)


def test_ids_and_scalars_come_back(tmp_path: Path) -> None:
    spec = Spec.ranking(1000)
    x, y = np.array([7, 999, 7]), np.array([1, 0.5, 2], np.float32)
    with closing(open_store(tmp_path / "me.db", spec=spec)) as store:
        store.append(x, y)
    with closing(open_store(tmp_path / "me.db", spec=spec)) as store:
        rows = store.load()
    np.testing.assert_array_equal(rows.x, x)
    np.testing.assert_array_equal(rows.y, y)
    assert rows.x.dtype == np.int64


def test_the_time_of_an_interaction_is_kept(tmp_path: Path) -> None:
    before = time.time()
    make_store(tmp_path / "me.db")
    with sql(tmp_path / "me.db") as connection:
        times = [row[0] for row in connection.execute("SELECT observed_at FROM interactions")]
    assert len(times) == 4
    assert all(before <= seconds <= time.time() for seconds in times)


def test_a_store_is_durable_and_private(tmp_path: Path) -> None:
    with closing(open_store(tmp_path / "me.db")) as store, store._database.session() as connection:
        pragmas = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")}
    assert pragmas == {"journal_mode": "wal", "synchronous": 2}
    assert stat.S_IMODE((tmp_path / "me.db").stat().st_mode) == 0o600


def test_rows_are_added_together_or_not_at_all(tmp_path: Path) -> None:
    with closing(open_store(tmp_path / "me.db")) as store:
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
    make_store(tmp_path / "me.db")
    with pytest.raises(OtherModelError, match="belongs to the model a"):
        open_store(tmp_path / "me.db", identity="b")
    with pytest.raises(OtherModelError, match="holds rows of"):
        open_store(tmp_path / "me.db", spec=Spec.ranking(3))
    with closing(open_store(tmp_path / "me.db")) as store:
        assert store.count() == 4


def test_replacing_the_model_keeps_the_interactions(tmp_path: Path) -> None:
    make_store(tmp_path / "me.db")
    with closing(open_store(tmp_path / "me.db")) as store:
        store.replace_model("b", SPEC, None, 0)
        store.save_personal(PersonalState(STATE, 4), 0)
    with closing(open_store(tmp_path / "me.db", identity="b")) as store:
        assert store.count() == 4
        assert store.personal() is not None


def test_a_writer_waits_for_its_turn(tmp_path: Path) -> None:
    path = tmp_path / "me.db"
    make_store(path)
    with closing(open_store(path)) as store, closing(sqlite3.connect(path, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.2, other.rollback)
        release.start()
        store.append(X, Y)
        release.join()
        assert store.count() == 8


def test_a_writer_tries_again_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's own wait tries every 100 ms: a process that writes without a pause then keeps others out."""
    path, waits = tmp_path / "me.db", list[float]()
    make_store(path)
    with closing(open_store(path)) as store, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")

        def wait(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 3:
                other.rollback()

        monkeypatch.setattr(database, "BUSY_SECONDS", 1.0)
        monkeypatch.setattr(time, "sleep", wait)
        store.append(X, Y)
    assert waits == [0.001] * 3


def test_a_writer_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "me.db"
    make_store(path)
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    with closing(open_store(path)) as store, closing(sqlite3.connect(path)) as other:
        assert store.count() == 4
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="another process is using it"):
            store.append(X, Y)
        other.rollback()
        assert store.count() == 4


class _Contended(sqlite3.Connection):
    """Finds the file locked twice as it changes to WAL, which SQLite reports without waiting."""

    locked = 2

    def execute(self, sql: str, *arguments: object) -> sqlite3.Cursor:
        if "journal_mode" in sql and self.locked:
            self.locked -= 1
            raise sqlite3.OperationalError("database is locked")
        return super().execute(sql, *arguments)  # type: ignore[arg-type]


def test_processes_that_make_a_store_at_once_wait_for_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite3, "connect", functools.partial(sqlite3.connect, factory=_Contended))
    with closing(open_store(tmp_path / "me.db")) as store:
        assert store.count() == 0
    monkeypatch.setattr(database, "BUSY_SECONDS", -1.0)
    with pytest.raises(StoreError, match="another process is using it"):
        open_store(tmp_path / "me.db")
