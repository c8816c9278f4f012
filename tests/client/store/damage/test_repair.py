"""What a repair keeps, what it says, and where it leaves the damaged file."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from tests.client.graphs import linear_bundle, linear_rows
from tests.client.stores import sql

from tegu.client import Personalizer, repair_store
from tegu.client.store.damage.pages import records_in
from tegu.core.errors import OtherModelError, StoreError

PAGE = 4096
BUNDLE = linear_bundle()
X, Y = linear_rows(300)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "me.db"
    with Personalizer.open(BUNDLE, path) as p:
        p.observe(X, Y)
        p.adapt()
    return path


def _page_of(path: Path, needle: bytes) -> int:
    return path.read_bytes().index(needle) // PAGE


def _overwrite(path: Path, page: int, content: bytes = b"") -> None:
    data = bytearray(path.read_bytes())
    data[page * PAGE : (page + 1) * PAGE] = content or bytes(PAGE)
    path.write_bytes(data)


def test_the_rows_of_a_damaged_page_are_lost_and_the_others_kept(store: Path) -> None:
    page = _page_of(store, X[100].tobytes())
    _overwrite(store, page)
    with Personalizer.open(BUNDLE, store) as p, pytest.raises(StoreError) as raised:
        p.adapt()
    assert "of 300 interactions are damaged, observed after 20" in str(raised.value)
    assert "repair_store" in str(raised.value)
    result = repair_store(store)
    assert 20 < result.lost < 150  # type: ignore[operator]
    assert result.kept == 300 - result.lost  # type: ignore[operator]
    assert f"{result.lost} of 300 interactions are damaged" in str(raised.value)
    assert result.message.startswith(
        f"{result.kept} interactions were kept, and {result.lost} of 300 were lost, observed"
    )
    with Personalizer.open(BUNDLE, store) as p:
        numbers = [int(name.removeprefix("auto:")) - 1 for name in p.interactions().ids]
        assert 100 not in numbers
        np.testing.assert_array_equal(p.interactions().x, X[numbers])
        assert p.count == result.kept
    assert result.damaged.name == "me.db.damaged"
    assert result.damaged.read_bytes()[page * PAGE : (page + 1) * PAGE] == bytes(PAGE)


def test_a_damaged_first_page_costs_no_row(store: Path) -> None:
    with Personalizer.open(BUNDLE, store) as p:
        predicted = p.predict(X)
    _overwrite(store, 0)
    with pytest.raises(StoreError, match="if it was a store, close it and call"):
        Personalizer.open(BUNDLE, store)
    result = repair_store(store)
    assert (result.kept, result.lost, result.state_kept) == (300, 0, True)
    with Personalizer.open(BUNDLE, store) as p:
        np.testing.assert_array_equal(p.predict(X), predicted)
        np.testing.assert_array_equal(p.interactions().x, X)


def test_a_damaged_state_is_dropped_and_the_rows_stay(store: Path) -> None:
    with sql(store) as connection:
        connection.execute("UPDATE personal SET interactions = 299")
    with pytest.raises(StoreError, match="the personal state is not the one that was written"):
        Personalizer.open(BUNDLE, store)
    result = repair_store(store)
    assert (result.kept, result.lost, result.state_kept) == (300, 0, False)
    assert "call adapt" in result.message
    with Personalizer.open(BUNDLE, store) as p:
        assert p.adapt().interactions == 300


def test_a_store_that_forgot_its_model_needs_the_bundle(store: Path) -> None:
    with sql(store) as connection:
        connection.execute("UPDATE about SET erasures = 5")
    with pytest.raises(StoreError, match=r"pass it, repair_store\(path, bundle\)"):
        repair_store(store)
    result = repair_store(store, BUNDLE)
    assert (result.kept, result.lost) == (300, None)
    with Personalizer.open(BUNDLE, store) as p:
        np.testing.assert_array_equal(p.interactions().x, X)
    with pytest.raises(OtherModelError):
        Personalizer.open(linear_bundle(1), store)


def test_a_whole_store_stays_as_it_is_and_a_second_damaged_file_has_a_name_of_its_own(store: Path) -> None:
    for name in ("me.db.damaged", "me.db.damaged-2"):
        result = repair_store(store)
        assert (result.kept, result.lost, result.state_kept) == (300, 0, True)
        assert result.damaged.name == name
        assert "none was lost" in result.message


def test_what_is_only_in_the_log_is_kept(store: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "me.db"
    other.parent.mkdir()
    with Personalizer.open(BUNDLE, store) as p:
        p.observe(X[:5] + 7, Y[:5], ids=list("abcde"))
        for suffix in ("", "-wal"):  # as a crash leaves them
            shutil.copy(f"{store}{suffix}", f"{other}{suffix}")
    assert X[0].tobytes() in other.read_bytes()
    assert (X[0] + 7).tobytes() not in other.read_bytes()
    _overwrite(other, 0)
    assert repair_store(other).kept == 305
    assert not Path(f"{other}-wal").exists()
    with Personalizer.open(BUNDLE, other) as p:
        np.testing.assert_array_equal(p.interactions().x[300:], X[:5] + 7)


@pytest.mark.parametrize("content", [b"", b"notes\n" * 2000])
def test_a_file_of_something_else_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="nothing of a store is left"):
        repair_store(path, BUNDLE)
    assert path.read_bytes() == content
    assert [each.name for each in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(StoreError, match="check the path"):
        repair_store(tmp_path / "none.db")


def test_records_of_every_type_and_size_are_read_as_sqlite_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "any.db"
    values = [None, 0, 1, -1, 127, -128, 40000, -(2**31), 2**40, -(2**55), 2**63 - 1, 0.5, -1e300, "", "text é", b""]
    blobs = [bytes([i % 251]) * size for i, size in enumerate((1, 1000, 4055, 4056, 4061, 4062, 5000, 8188, 70000))]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE t (number INTEGER PRIMARY KEY, a, b)")
        for i, value in enumerate([*values, *blobs]):
            connection.execute("INSERT INTO t VALUES (?, ?, ?)", (i - 3 if i else 2**62, value, str(value)[:5000]))
        expected = sorted(connection.execute("SELECT number, a, b FROM t").fetchall(), key=lambda row: row[0])
    found = sorted((record.rowid, *record.values[1:]) for record in records_in(path) if len(record.values) == 3)
    assert found == expected
