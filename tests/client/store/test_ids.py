"""Interactions with ids: observed again, listed and removed."""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.client.graphs import linear_adapt, linear_bundle, linear_predict, linear_rows, ranking_bundle

from tegu.client import Personalizer
from tegu.client.store import database
from tegu.core.data.batch import full_batch
from tegu.core.errors import DataError, StoreError, UnknownNameError

X, Y = linear_rows(7)
IDS = [f"click-{i}" for i in range(7)]
BUNDLE = linear_bundle()


def test_without_ids_every_interaction_is_new() -> None:
    with Personalizer.open(BUNDLE) as p:
        assert p.observe(X, Y) == (7, 0, 0, 7)
        assert p.observe(X[:2], Y[:2]) == (2, 0, 0, 9)
        assert p.count == 9


@pytest.mark.parametrize(("on_repeat", "expected"), [("replace", (0, 7, 0, 7)), ("ignore", (0, 0, 7, 7))])
def test_a_file_imported_again_changes_nothing(tmp_path: Path, on_repeat: Any, expected: tuple[int, ...]) -> None:
    for results in ((7, 0, 0, 7), expected):
        with Personalizer.open(BUNDLE, tmp_path / "me.db") as p:
            assert p.observe(X, Y, ids=IDS, on_repeat=on_repeat) == results
            p.adapt()
            predicted, listed = p.predict(X), p.interactions()
    np.testing.assert_allclose(
        predicted, linear_predict(linear_adapt(BUNDLE.meta, full_batch(X, Y), 5, 0.1), X), atol=1e-5
    )
    assert listed.ids == tuple(IDS)


def test_a_replaced_interaction_keeps_its_place_and_time() -> None:
    before = time.time()
    with Personalizer.open(BUNDLE) as p:
        p.observe(X, Y, ids=IDS)
        first = p.interactions()
        assert p.observe(X[0] + 1, Y[0] - 1, ids=IDS[2]) == (0, 1, 0, 7)
        found = p.interactions()
    expected_x, expected_y = X.copy(), Y.copy()
    expected_x[2], expected_y[2] = X[0] + 1, Y[0] - 1
    np.testing.assert_array_equal(found.x, expected_x)
    np.testing.assert_array_equal(found.y, expected_y)
    np.testing.assert_array_equal(found.observed_at, first.observed_at)
    assert before <= found.observed_at[0] <= time.time()
    assert found.ids == tuple(IDS)


def test_an_ignored_interaction_leaves_the_stored_one() -> None:
    with Personalizer.open(BUNDLE) as p:
        p.observe(X[:2], Y[:2], ids=["a", "b"])
        assert p.observe(X[5:], Y[5:], ids=["b", "c"], on_repeat="ignore") == (1, 0, 1, 3)
        found = p.interactions()
    assert found.ids == ("a", "b", "c")
    np.testing.assert_array_equal(found.x, X[[0, 1, 6]])


@pytest.mark.parametrize(("on_repeat", "kept"), [("replace", 2), ("ignore", 0)])
def test_an_id_that_is_repeated_in_one_call(on_repeat: Any, kept: int) -> None:
    with Personalizer.open(BUNDLE) as p:
        result = p.observe(X[:3], Y[:3], ids=["a", "b", "a"], on_repeat=on_repeat)
        assert result == (2, *((1, 0) if kept else (0, 1)), 2)
        assert p.interactions().ids == ("a", "b")
        np.testing.assert_array_equal(p.interactions().x, X[[kept, 1]])


def test_whole_numbers_are_ids_too() -> None:
    with Personalizer.open(ranking_bundle()) as p:
        p.observe([1, 2], ids=np.array([2**63 + 1, 7], np.uint64))
        p.observe(3, ids=9)
        p.observe([4, 5], ids=["7", 9], on_repeat="ignore")
        assert p.interactions().ids == (str(2**63 + 1), "7", "9")
        assert p.remove(7) == (1, 2)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (IDS[:6], "6 ids for 7 interactions"),
        ("one", "1 ids for 7 interactions"),
        ([*IDS[:6], None], "an id is None: expected a text or a whole number"),
        ([*IDS[:6], 1.5], "an id is 1.5"),
        ([*IDS[:6], True], "an id is True"),
        ([*IDS[:6], ""], "at least one character"),
        ([*IDS[:6], "a\0"], "printable"),
        ([*IDS[:6], "\ud800"], "printable"),
        ([*IDS[:6], "auto:3"], "begins with 'auto:'"),
        (b"1234567", "expected one id, or a list"),
        (2.5, "expected one id, or a list"),
        (np.zeros((7, 2), int), "an id is array"),
        (np.array("a"), "expected one id, or a list"),
        ([[1], [2, 3]], r"an id is \[1\]"),
    ],
)
def test_what_is_no_id_is_refused_and_nothing_is_stored(ids: Any, message: str) -> None:
    with Personalizer.open(BUNDLE) as p:
        with pytest.raises(DataError, match=message):
            p.observe(X, Y, ids=ids)
        assert p.count == 0


def test_another_way_to_treat_repeats_is_refused() -> None:
    with Personalizer.open(BUNDLE) as p, pytest.raises(UnknownNameError, match="Did you mean 'replace'"):
        p.observe(X, Y, ids=IDS, on_repeat="replaced")  # type: ignore[arg-type]


def test_interactions_without_an_id_are_listed_and_removed_by_one_of_the_store() -> None:
    with Personalizer.open(BUNDLE) as p:
        p.observe(X[:3], Y[:3])
        p.observe(X[3], Y[3], ids="mine")
        assert p.interactions().ids == ("auto:1", "auto:2", "auto:3", "mine")
        assert p.remove(["auto:2", "mine"]) == (2, 2)
        p.observe(X[4], Y[4])
        assert p.interactions().ids == ("auto:1", "auto:3", "auto:5")  # no number is used twice
        np.testing.assert_array_equal(p.interactions().x, X[[0, 2, 4]])


def test_after_removing_one_adapts_as_though_it_had_not_been(tmp_path: Path) -> None:
    with Personalizer.open(BUNDLE, tmp_path / "me.db") as p:
        initial = p.predict(X)
        p.observe(X, Y, ids=IDS)
        p.adapt()
        assert p.remove(IDS[6]) == (1, 6)
        np.testing.assert_array_equal(p.predict(X), initial)
        p.adapt()
        expected = linear_predict(linear_adapt(BUNDLE.meta, full_batch(X[:6], Y[:6]), 5, 0.1), X)
        np.testing.assert_allclose(p.predict(X), expected, atol=1e-5)
    with Personalizer.open(BUNDLE, tmp_path / "me.db") as p:
        np.testing.assert_allclose(p.predict(X), expected, atol=1e-5)


def test_removing_what_is_not_stored_changes_nothing(tmp_path: Path) -> None:
    with Personalizer.open(BUNDLE, tmp_path / "me.db") as p:
        p.observe(X, Y, ids=IDS)
        p.adapt()
        adapted = p.predict(X)
        assert p.remove(["never", "auto:1", "auto:x", "auto:99999999999999999999"]) == (0, 7)
        np.testing.assert_array_equal(p.predict(X), adapted)
        with pytest.raises(DataError, match=r"an id is 0\.5"):
            p.remove([0.5])  # type: ignore[list-item]


def test_the_bytes_of_a_removed_interaction_are_gone_and_those_of_others_stay(tmp_path: Path) -> None:
    def holding(needle: bytes) -> list[str]:
        return [path.name for path in tmp_path.iterdir() if path.is_file() and needle in path.read_bytes()]

    secret, other = (np.array([v, 9.8765432, -5.5555555], np.float32) for v in (0.12345678, 0.87654321))
    with Personalizer.open(BUNDLE, tmp_path / "me.db") as p:
        for i in range(20):
            p.observe(X, Y, ids=[f"{i}-{name}" for name in IDS])
        p.observe(np.stack([secret, other]), np.ones(2), ids=["the-secret-one", "another"])
        p.adapt()
        assert holding(secret.tobytes())
        assert holding(b"the-secret-one")
        p.remove("the-secret-one")
        assert not holding(secret.tobytes())
        assert not holding(b"the-secret-one")
        assert holding(other.tobytes())
        assert p.count == 141


def test_bytes_that_a_reader_kept_alive_go_when_the_same_ids_are_removed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    with Personalizer.open(BUNDLE, tmp_path / "me.db") as p:
        p.observe(X, Y, ids=IDS)
        with closing(sqlite3.connect(tmp_path / "me.db")) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM interactions").fetchone()
            with pytest.raises(StoreError, match=r"may remain in its files: .* or remove with the same ids"):
                p.remove(IDS[3])
        assert p.count == 6
        assert p.remove(IDS[3]) == (0, 6)
        assert not any(X[3].tobytes() in path.read_bytes() for path in tmp_path.iterdir() if path.is_file())


def test_a_state_adapted_to_rows_that_another_process_removes_is_not_saved(tmp_path: Path) -> None:
    with Personalizer.open(BUNDLE, tmp_path / "me.db") as p:
        p.observe(X, Y, ids=IDS)
        rows = p._store.load()
        p._store.load = lambda newest=None: rows  # type: ignore[method-assign] # read before the other process removes
        with Personalizer.open(BUNDLE, tmp_path / "me.db") as other:
            other.remove(IDS[0])
        with pytest.raises(StoreError, match="interactions were removed, by another process"):
            p.adapt()


def test_a_copied_store_goes_on(tmp_path: Path) -> None:
    with Personalizer.open(BUNDLE, tmp_path / "me.db") as p:
        p.observe(X, Y, ids=IDS)
    shutil.copy(tmp_path / "me.db", tmp_path / "copy.db")
    with Personalizer.open(BUNDLE, tmp_path / "copy.db") as p:
        assert p.observe(X, Y, ids=IDS) == (0, 7, 0, 7)
