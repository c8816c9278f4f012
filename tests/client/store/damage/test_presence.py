"""A file that is deleted, replaced or cut while a store is open: nothing is acknowledged that would be lost."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.client.stores import STATE, X, Y, make_store, open_store

from tegu.client.store.store import PersonalState, Store
from tegu.core.errors import StoreError

ATTACKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "deleted": (lambda path: path.unlink(), "its file was deleted or replaced"),
    "renamed": (lambda path: path.rename(path.with_name("other")), "its file was deleted or replaced"),
    "replaced": (lambda path: copied(path).replace(path), "its file was deleted or replaced"),
    "cut to nothing": (lambda path: os.truncate(path, 0), "its file was cut"),
    "cut in half": (lambda path: os.truncate(path, 4096), "its file was cut"),
    "its log deleted": (lambda path: log(path).unlink(), "its write-ahead log was deleted"),
    "its log cut": (lambda path: os.truncate(log(path), 0), "its write-ahead log was cut to 0 bytes"),
    "its log cut a little": (lambda path: os.truncate(log(path), 8000), "its write-ahead log was cut to 8000 bytes"),
}
WRITES: dict[str, Callable[[Store], object]] = {
    "append": lambda store: store.append(X, Y),
    "delete_rows": lambda store: store.delete_rows(["auto:1"]),
    "save_personal": lambda store: store.save_personal(PersonalState(STATE, 4), 0),
    "delete_all": lambda store: store.delete_all(),
    "count": lambda store: store.count(),
    "load": lambda store: store.load(),
}


def log(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def copied(path: Path) -> Path:
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    return copy


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("write", WRITES)
def test_is_an_error_and_not_a_success(tmp_path: Path, attack: str, write: str) -> None:
    path = tmp_path / "me.db"
    make_store(path)
    act, why = ATTACKS[attack]
    with closing(open_store(path)) as store:
        store.append(X, Y)
        act(path)
        for _ in range(2):
            with pytest.raises(StoreError, match=f"{why}.*open it again"):
                WRITES[write](store)


def test_an_interaction_is_acknowledged_or_refused_whenever_the_file_goes(tmp_path: Path) -> None:
    path = tmp_path / "me.db"
    for cut in range(1, 6):
        with closing(open_store(path)) as store:
            for _ in range(cut):
                store.append(X, Y)
            path.unlink()
            with pytest.raises(StoreError, match="deleted"):
                store.append(X, Y)
        with closing(open_store(path)) as store:
            assert store.count() == 0


def test_what_is_right_is_no_alarm(tmp_path: Path) -> None:
    """Erasing cuts the log, and another connection that closes leaves it."""
    path = tmp_path / "me.db"
    with closing(open_store(path)) as store:
        for _ in range(50):
            store.append(X, Y)
        with closing(open_store(path)) as other:
            other.delete_rows([f"auto:{number}" for number in range(1, 150)])
            other.erase_deleted()
            assert store.append(X, Y).stored == 55
            store.erase_deleted()
            assert other.append(X, Y).stored == 59
        assert len(store.load().x) == 59
    assert not log(path).exists()
