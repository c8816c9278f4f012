"""`tegu bench wire` on the tiny experiment."""

from __future__ import annotations

import pytest
from tests.sim import people

from tegu.bench.harness.options import BenchmarkOptions
from tegu.bench.suites import wire
from tegu.core.errors import UnknownNameError


def test_bytes_and_errors_of_each_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "EXPERIMENTS", {"tiny": people.experiment})
    monkeypatch.setattr(wire, "_TASKS", ("tiny",))
    monkeypatch.setattr(wire, "_K", 3)
    with people.compiled_once():
        comparisons = wire.bench_wire(BenchmarkOptions(2, lambda text: None))
    assert [(row.task, row.peer, row.measure, len(row.tegu)) for row in comparisons] == [
        (f"tiny-{precision}", "float32", measure, 2)
        for precision in ("float16", "int8")
        for measure in ("bytes", "1 - accuracy")
    ]
    # Five users each send 27 values. In float32 these are four arrays, quantised two; each has a header of 128 bytes.
    for row, expected in zip(comparisons[::2], (27 * 2 + 2 * 128, 27 + 4 + 2 * 128), strict=True):
        assert row.other == [5 * (27 * 4 + 4 * 128)] * 2
        assert row.tegu == [5 * expected] * 2
    for row in comparisons[1::2]:
        assert all(0 < error < 1 for error in [*row.tegu, *row.other])


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="sine"):
        wire.bench_wire(BenchmarkOptions(1, lambda text: None, tasks=["sines"]))
