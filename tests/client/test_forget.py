"""After `forget` nothing of the user is left, in memory, in the store, or in the bytes of its files."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from tests.client.graphs import linear_bundle, linear_predict, linear_rows

from tegu.client import Personalizer
from tegu.client.store import database
from tegu.core.errors import StoreError

X, Y = linear_rows(300)
SECRET = np.array([0.12345678, 9.8765432, -5.5555555], np.float32)


def _holds(folder: Path, needle: bytes) -> list[str]:
    return [path.name for path in folder.iterdir() if needle in path.read_bytes()]


def _state(folder: Path) -> bytes:
    with closing(sqlite3.connect(folder / "me.db")) as connection:
        blob: bytes = connection.execute("SELECT state FROM personal").fetchone()[0]
    return blob[-12:]


def test_no_byte_is_left_in_any_file(tmp_path: Path) -> None:
    with Personalizer.open(linear_bundle(), tmp_path / "me.db") as p:
        p.observe(X, Y)
        p.observe(SECRET, 1.0)
        p.adapt()
        needles = [SECRET.tobytes(), X[7].tobytes(), _state(tmp_path)]
        for needle in needles:
            assert _holds(tmp_path, needle), "the test would prove nothing"
        p.forget()
        for needle in needles:
            assert not _holds(tmp_path, needle)
        assert len(_holds(tmp_path, b"")) == 3  # the file, its WAL and its index were looked at
        assert (tmp_path / "me.db-wal").stat().st_size == 0
    for needle in needles:
        assert not _holds(tmp_path, needle)


def test_nothing_is_left_after_a_reset_and_checkpoints(tmp_path: Path) -> None:
    for _ in range(3):
        with Personalizer.open(linear_bundle(), tmp_path / "me.db") as p:
            p.observe(SECRET, 1.0)
            p.adapt()
            state = _state(tmp_path)
            p.reset()
    with Personalizer.open(linear_bundle(), tmp_path / "me.db") as p:
        p.forget()
        assert not _holds(tmp_path, SECRET.tobytes())
        assert not _holds(tmp_path, state)


def test_the_initialisation_is_back_and_interactions_are_gone(tmp_path: Path) -> None:
    bundle = linear_bundle()
    with Personalizer.open(bundle, tmp_path / "me.db") as p:
        p.observe(X, Y)
        p.adapt()
        p.forget()
        assert p.count == 0
        np.testing.assert_allclose(p.predict(X), linear_predict(bundle.meta, X), atol=1e-5)
        p.observe(X[:2], Y[:2])
        assert p.adapt().interactions == 2
    with Personalizer.open(bundle, tmp_path / "me.db") as p:
        p.forget()
    with Personalizer.open(bundle, tmp_path / "me.db") as p:
        assert p.count == 0


def test_forgetting_in_memory() -> None:
    with Personalizer.open(linear_bundle()) as p:
        p.observe(X, Y)
        p.forget()
        assert p.count == 0


def test_a_reader_that_keeps_old_bytes_alive_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    with Personalizer.open(linear_bundle(), tmp_path / "me.db") as p:
        p.observe(SECRET, 1.0)
        p.adapt()
        with closing(sqlite3.connect(tmp_path / "me.db")) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM interactions").fetchone()
            with pytest.raises(StoreError, match="may remain in its files: close that process and call forget again"):
                p.forget()
        assert p.count == 0
        np.testing.assert_allclose(p.predict(X), linear_predict(linear_bundle().meta, X), atol=1e-5)
        p.forget()
        assert not _holds(tmp_path, SECRET.tobytes())
