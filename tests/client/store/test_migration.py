"""Stores of schema 1, made without Tegu."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from tests.client.graphs import linear_adapt, linear_bundle, linear_predict, linear_rows
from tests.client.stores import sql

from tegu.client import Personalizer
from tegu.client.store import migration
from tegu.core.bundle.file import tree_to_bytes
from tegu.core.data.batch import full_batch
from tegu.core.errors import StoreError

BUNDLE = linear_bundle()
X, Y = linear_rows(7)
STATE = {"weight": np.ones((1, 3), np.float32), "bias": np.zeros(1, np.float32)}
SPEC = (
    '{"kind": "regression", "outputs": 1, "x": {"dtype": "float32", "shape": [3], "size": 0}, '
    '"y": {"dtype": "float32", "shape": [1], "size": 0}}'
)
SCHEMA_1 = """
PRAGMA journal_mode = WAL;
CREATE TABLE about (one INTEGER PRIMARY KEY CHECK (one = 1), identity TEXT NOT NULL, spec TEXT NOT NULL,
    erasures INTEGER NOT NULL);
CREATE TABLE interactions (id INTEGER PRIMARY KEY, x BLOB NOT NULL, y BLOB NOT NULL, observed_at REAL NOT NULL);
CREATE TABLE personal (one INTEGER PRIMARY KEY CHECK (one = 1), state BLOB NOT NULL, interactions INTEGER NOT NULL);
PRAGMA application_id = 1413826389;
PRAGMA user_version = 1;
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "me.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(SCHEMA_1)
        connection.execute("INSERT INTO about VALUES (1, ?, ?, 3)", (BUNDLE.identity, SPEC))
        for i in range(7):
            connection.execute(
                "INSERT INTO interactions VALUES (?, ?, ?, ?)", (2 * i + 1, X[i].tobytes(), Y[i].tobytes(), 1000.0 + i)
            )
        connection.execute("INSERT INTO personal VALUES (1, ?, 7)", (tree_to_bytes(STATE),))
    return path


def test_everything_is_kept(old: Path) -> None:
    with Personalizer.open(BUNDLE, old) as p:
        np.testing.assert_allclose(p.predict(X), X.sum(1, keepdims=True), atol=1e-5)
        rows = p.interactions()
        np.testing.assert_array_equal(rows.x, X)
        np.testing.assert_array_equal(rows.y, Y)
        np.testing.assert_array_equal(rows.observed_at, 1000.0 + np.arange(7))
        assert p.count == 7
        assert rows.ids == tuple(f"auto:{2 * i + 1}" for i in range(7))
        p.adapt()
        adapted = linear_predict(linear_adapt(BUNDLE.meta, full_batch(X, Y), 5, 0.1), X)
        np.testing.assert_allclose(p.predict(X), adapted, atol=1e-5)
        p.observe(X[0], Y[0], ids="new")
        assert p.interactions().ids[-1] == "new"
    with Personalizer.open(BUNDLE, old) as p:
        assert p.count == 8


def test_a_store_without_rows_and_state_is_migrated_too(old: Path) -> None:
    with sql(old) as connection:
        connection.execute("DELETE FROM interactions")
        connection.execute("DELETE FROM personal")
    with Personalizer.open(BUNDLE, old) as p:
        assert p.count == 0
        assert p.observe(X, Y).stored == 7


def test_a_migration_that_stops_half_way_never_happened(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = old.read_bytes()

    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(migration, "put_about", stop)
        with pytest.raises(KeyboardInterrupt):
            Personalizer.open(BUNDLE, old)
    with sql(old) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM interactions").fetchone() == (7,)
    assert len(before) == len(old.read_bytes())
    with Personalizer.open(BUNDLE, old) as p:
        assert p.count == 7


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("DELETE FROM about", "does not name the model"),
        ("UPDATE interactions SET x = 'text' WHERE id = 3", "is damaged"),
        ("ALTER TABLE interactions DROP COLUMN observed_at", r"has the columns \['id', 'x', 'y'\]"),
    ],
)
def test_what_is_no_store_of_schema_1_is_left_as_it_is(old: Path, damage: str, message: str) -> None:
    with sql(old) as connection:
        connection.execute(damage)
    with pytest.raises(StoreError, match=message):
        Personalizer.open(BUNDLE, old)
    with sql(old) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)


def test_rows_that_do_not_fit_are_reported_when_they_are_read(old: Path) -> None:
    with sql(old) as connection:
        connection.execute("UPDATE interactions SET x = x'0000c07f0000000000000000' WHERE id = 3")
    with Personalizer.open(BUNDLE, old) as p, pytest.raises(StoreError, match="NaN or infinite"):
        p.adapt()
