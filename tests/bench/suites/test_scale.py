"""`tegu bench scale` in real processes, with far fewer users."""

from __future__ import annotations

import pytest

from tegu.bench.harness.options import BenchmarkOptions
from tegu.bench.suites import scale
from tegu.core.errors import RuntimeFailure, UnknownNameError


@pytest.mark.slow
def test_time_and_memory_of_sizes_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "SIZES", {"users-1e3": 150, "users-1e4": 120})
    monkeypatch.setattr(scale, "ROUNDS", 20)
    log: list[str] = []
    comparisons = scale.bench_scale(BenchmarkOptions(1, log.append))
    assert [(row.task, row.peer, row.measure) for row in comparisons] == [
        ("users-1e3", "tegu-users-1e4", "time"),
        ("users-1e3", "tegu-users-1e4", "memory"),
    ]
    seconds, memory = comparisons
    assert 1e-6 < seconds.tegu[0] < 1
    assert 50 < memory.other[0] < 5000
    assert log[0] == "users-1e4: writing 120 users"


def test_a_failing_run_is_an_error(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "SIZES", {"users-1e3": 3, "users-1e4": 2})
    monkeypatch.setattr(scale, "write_population", lambda *arguments: None)  # then there is nothing to read
    with pytest.raises(RuntimeFailure, match="the run on users-1e3 ended with exit code 1"):
        scale.bench_scale(BenchmarkOptions(1, lambda text: None))


def test_an_unknown_size_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="users-1e4"):
        scale.bench_scale(BenchmarkOptions(1, lambda text: None, tasks=["users-1e7"]))
