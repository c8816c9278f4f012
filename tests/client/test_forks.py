"""A child that is forked while other threads write: it does not hang, and both go on writing."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from tests.client.stores import X, Y, open_store

from tegu.client import Personalizer
from tegu.client.store.store import Store

FORKS = 5


def in_child(work: Callable[[], object]) -> bool:
    """Whether a forked child did its work, within ten seconds."""
    child = os.fork()
    if child == 0:
        signal.alarm(10)  # ends the child
        try:
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def writing(store: Store, stop: threading.Event, done: list[int]) -> None:
    while not stop.is_set():
        store.append(X[:1], Y[:1])
        done.append(1)


def test_a_child_of_a_writing_process_writes_too(tmp_path: Path) -> None:
    stop, done = threading.Event(), list[int]()
    with closing(open_store(tmp_path / "me.db")) as store:
        thread = threading.Thread(target=writing, args=(store, stop, done))
        thread.start()
        try:
            finished = [in_child(lambda: store.append(X, Y)) for _ in range(FORKS)]
        finally:
            stop.set()
            thread.join()
        assert all(finished)
        assert store.count() == len(done) + FORKS * len(X)
        assert len(store.load().x) == store.count()


def test_a_store_in_memory_is_a_copy_in_the_child() -> None:
    with closing(open_store(None)) as store:
        store.append(X, Y)

        def work() -> None:
            store.append(X, Y)
            assert store.count() == 2 * len(X)

        assert in_child(work)
        assert store.count() == len(X)


def test_a_child_may_close_and_the_parent_goes_on(tmp_path: Path) -> None:
    with closing(open_store(tmp_path / "me.db")) as store:
        store.append(X, Y)
        assert in_child(store.close)
        store.append(X, Y)
        assert (tmp_path / "me.db-wal").exists()
    with closing(open_store(tmp_path / "me.db")) as store:
        assert store.count() == 2 * len(X)


def test_a_child_of_a_process_that_adapts_does_not_wait_for_it(linear_file: Path, tmp_path: Path) -> None:
    with Personalizer.open(linear_file, tmp_path / "me.db") as p:
        p.observe(np.ones((2, 3)), [1.0, 2.0])
        held = threading.Event()
        release = threading.Event()

        def hold() -> None:
            with p._changing:
                held.set()
                release.wait(30)

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait(30)
        assert in_child(lambda: p.adapt(budget_ms=50))
        release.set()
        thread.join()


@pytest.mark.parametrize("closed", [True, False])
def test_a_store_that_was_in_use_is_refused_in_the_child(
    tmp_path: Path, closed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread is within SQLite for longer than a fork waits."""
    monkeypatch.setattr("tegu.client.store.database.BUSY_SECONDS", 0.05)
    store = open_store(tmp_path / "me.db")
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with store._database.session():
            held.set()
            release.wait(30)

    def work() -> None:
        if closed:
            store.close()
            return
        with pytest.raises(Exception, match="was in use while this process was forked: open it again"):
            store.count()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)
    assert in_child(work)
    release.set()
    thread.join()
    assert store.append(X, Y).stored == len(X)
    store.close()
