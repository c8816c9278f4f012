"""The worker's protocol, in this process and in a separate one."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.bench.numpy_peer import reptile_rounds, small_task

from tegu.bench.harness.worker import serve
from tegu.bench.harness.worker_handle import start_worker
from tegu.bench.tasks.task import write_task
from tegu.core.bundle.file import tree_from_bytes
from tegu.core.errors import RuntimeFailure

MODULE = "numpy_peer"


def test_every_request_is_answered_with_seconds_memory_and_trees(tmp_path: Path) -> None:
    task = small_task()
    write_task(tmp_path / "task", task)
    answers = io.StringIO()
    serve("tests.bench.numpy_peer", tmp_path / "task", io.StringIO(f"{tmp_path / 'a'}\n{tmp_path / 'b'}\n"), answers)
    first, *repetitions = map(json.loads, answers.getvalue().splitlines())
    assert first == {"description": "plain numpy"}
    assert [answer["seconds"] for answer in repetitions] == [0.25, 0.25]
    assert all(answer["mebibytes"] > 10 for answer in repetitions)
    for name in "ab":
        trees = [tree_from_bytes(path.read_bytes()) for path in sorted((tmp_path / name).iterdir())]
        for tree, expected in zip(trees, reptile_rounds(task), strict=True):
            np.testing.assert_array_equal(tree["0.weight"], expected["0.weight"])


@pytest.mark.usefixtures("importable_numpy_peer")
def test_a_worker_stays_alive_and_its_output_goes_to_its_log(tmp_path: Path) -> None:
    task = small_task()
    write_task(tmp_path / "task", task)
    with start_worker("numpy", Path(sys.executable), MODULE, tmp_path / "task", tmp_path / "own") as worker:
        assert worker.description == "plain numpy"
        for _ in range(2):
            repetition = worker.repeat()
            assert repetition.seconds == 0.25
            assert len(repetition.trees) == 2
        assert worker.process.poll() is None
    assert worker.process.returncode == 0
    assert (tmp_path / "own" / "log").read_text().count("a library that prints") == 2


@pytest.mark.usefixtures("importable_numpy_peer")
def test_a_worker_that_exits_raises_an_error_with_its_log(tmp_path: Path) -> None:
    write_task(tmp_path / "task", small_task())
    (tmp_path / "task" / "broken").touch()
    with (
        pytest.raises(RuntimeFailure, match=r"numpy has ended with code 1; fix .*\n[^$]*it is broken on purpose"),
        start_worker("numpy", Path(sys.executable), MODULE, tmp_path / "task", tmp_path / "own"),
    ):
        pass


@pytest.mark.usefixtures("importable_numpy_peer")
def test_a_killed_worker_raises_an_error(tmp_path: Path) -> None:
    write_task(tmp_path / "task", small_task())
    with start_worker("numpy", Path(sys.executable), MODULE, tmp_path / "task", tmp_path / "own") as worker:
        worker.process.kill()
        worker.process.wait()
        with pytest.raises(RuntimeFailure, match="numpy has ended with code -9"):
            worker.repeat()
