"""`tegu bench wire` on the tiny experiment."""

from __future__ import annotations

import pytest
from tegu.bench.harness.options import Request
from tests.sim import people

from tegu.bench.suites import wire
from tegu.core.errors import UnknownNameError


def test_bytes_and_errors_of_each_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "EXPERIMENTS", {"tiny": people.experiment})
    monkeypatch.setattr(wire, "_WORKS", ("tiny",))
    monkeypatch.setattr(wire, "_K", 3)
    with people.compiled_once():
        found = wire.bench_wire(Request(2, lambda text: None))
    assert [(row.work, row.peer, row.measure, len(row.tegu)) for row in found] == [
        (f"tiny-{precision}", "float32", measure, 2)
        for precision in ("float16", "int8")
        for measure in ("bytes", "1 - accuracy")
    ]
    # 27 numbers in four arrays under a header of 128 bytes each, from five people; packed there are one or two arrays.
    for row, expected in zip(found[::2], (27 * 2 + 2 * 128, 27 + 4 + 2 * 128), strict=True):
        assert row.other == [5 * (27 * 4 + 4 * 128)] * 2
        assert row.tegu == [5 * expected] * 2
    for row in found[1::2]:
        assert all(0 < error < 1 for error in [*row.tegu, *row.other])


def test_an_unknown_work_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="sine"):
        wire.bench_wire(Request(1, lambda text: None, works=["sines"]))
