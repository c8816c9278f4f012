"""`tegu bench scale` in real processes, with far fewer people."""

from __future__ import annotations

import pytest
from tegu.bench.harness.options import Request

from tegu.bench.suites import scale
from tegu.core.errors import RuntimeFailure, UnknownNameError


@pytest.mark.slow
def test_sizes_are_compared_in_time_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "SIZES", {"users-1e3": 150, "users-1e4": 120})
    said: list[str] = []
    found = scale.bench_scale(Request(1, said.append))
    assert [(row.work, row.peer, row.measure) for row in found] == [
        ("users-1e3", "tegu-users-1e4", "time"),
        ("users-1e3", "tegu-users-1e4", "memory"),
    ]
    seconds, memory = found
    assert 1e-6 < seconds.tegu[0] < 1
    assert 50 < memory.other[0] < 5000
    assert said[0] == "users-1e4: writing 120 people"


def test_a_failing_run_is_an_error(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "SIZES", {"users-1e3": 3, "users-1e4": 2})
    monkeypatch.setattr(scale, "write_population", lambda *arguments: None)  # so that there is nothing to read
    with pytest.raises(RuntimeFailure, match="the run on users-1e3 ended with exit code 1"):
        scale.bench_scale(Request(1, lambda text: None))


def test_an_unknown_size_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="users-1e4"):
        scale.bench_scale(Request(1, lambda text: None, works=["users-1e7"]))
