"""Threads that observe at the same time share a commit, and a kill loses nothing that was acknowledged."""

from __future__ import annotations

import sqlite3
import subprocess
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from tests.client.stores import X, Y, open_store

from tegu.client import Personalizer
from tegu.client.store.database import Database
from tegu.client.store.group_commit import GroupCommit
from tegu.core.errors import DataError, StoreError

OBSERVE_IN_THREADS = """
import sys, threading, numpy
from tegu.client import Personalizer
p = Personalizer.open(sys.argv[1], sys.argv[2])
def work(thread):
    for i in range(10**6):
        p.observe(numpy.full(3, 1000 * thread + i), 1.0, ids=[f"{thread}-{i}"])
        sys.stdout.write(f"{thread}-{i}\\n")
        sys.stdout.flush()
for thread in range(8):
    threading.Thread(target=work, args=(thread,)).start()
"""


def test_a_kill_loses_nothing_that_was_acknowledged(
    run_script: Callable[..., subprocess.Popen[str]], linear_file: Path, tmp_path: Path
) -> None:
    with run_script(OBSERVE_IN_THREADS, linear_file, tmp_path / "me.db") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(150)]
        process.kill()
        lines += process.stdout.readlines()
    acknowledged = {line.strip() for line in lines if line.endswith("\n")}
    with Personalizer.open(linear_file, tmp_path / "me.db") as p:
        found = set(p.interactions().ids)
        assert acknowledged <= found
        assert len(found) <= len(acknowledged) + 8  # those under way


def test_writes_that_wait_share_a_commit(tmp_path: Path) -> None:
    database = Database(tmp_path / "a.db")
    group, commits = GroupCommit(database), list[str]()
    with database.session() as connection:
        connection.execute("CREATE TABLE t (a INTEGER)")
        connection.set_trace_callback(commits.append)

    def work(number: int) -> Callable[[sqlite3.Connection], int]:
        def write(connection: sqlite3.Connection) -> int:
            if number == 7:
                raise DataError("seven")
            connection.execute("INSERT INTO t VALUES (?)", (number,))
            return number

        return write

    results = dict[int, object]()

    def run(number: int) -> None:
        try:
            results[number] = group.run(work(number))
        except DataError as error:
            results[number] = str(error)

    for numbers, expected in ((range(5), 1), (range(5, 10), 5)):
        commits.clear()
        threads = [threading.Thread(target=run, args=(number,)) for number in numbers]
        with database.session():  # all of them wait for this
            for thread in threads:
                thread.start()
            while len(group._waiting) < len(threads):
                pass
        for thread in threads:
            thread.join()
        # One that fails fails alone: the others of its group are written one by one.
        assert commits.count("COMMIT") == expected - (7 in numbers)
    assert results == {number: "seven" if number == 7 else number for number in range(10)}
    with database.session() as connection:
        assert sorted(a for (a,) in connection.execute("SELECT a FROM t")) == [0, 1, 2, 3, 4, 5, 6, 8, 9]
    database.close()


def test_rows_of_threads_are_all_there_and_intact(tmp_path: Path) -> None:
    with closing(open_store(tmp_path / "me.db")) as store:

        def work(thread: int) -> None:
            for _ in range(20):
                store.append(X + 100 * thread, Y)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rows = store.load()
    assert len(rows.x) == 8 * 20 * len(X)
    assert sorted(np.unique(rows.x[:, 0] // 100)) == list(range(8))


def test_a_file_that_is_gone_fails_all_of_them(tmp_path: Path) -> None:
    errors = list[StoreError]()
    with closing(open_store(tmp_path / "me.db")) as store:
        (tmp_path / "me.db").unlink()

        def work() -> None:
            with pytest.raises(StoreError, match="deleted") as caught:
                store.append(X, Y)
            errors.append(caught.value)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(errors) == 4
