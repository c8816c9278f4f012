"""`tegu bench convolution`: which variants are compared, on runtimes that tell what they were asked."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from tegu.bench.harness.options import BenchmarkOptions
from tegu.bench.suites import convolution
from tegu.core.bundle.manifest import Knobs
from tegu.core.data.batch import Array, NumpyBatch
from tegu.core.data.tree import Tree
from tegu.core.errors import RuntimeFailure, UnknownNameError


class Recorder:
    """A runtime that gives one number, whatever it is asked."""

    def __init__(self, answer: float = 0.0) -> None:
        self.answer = answer
        self.asked: list[tuple[str, int]] = []

    def adapt(self, meta: Tree, support: NumpyBatch, knobs: Knobs) -> Tree:
        self.asked.append(("adapt", len(support.x)))
        return {"p": np.asarray(self.answer)}

    def predict(self, meta: Tree, state: Tree, x: Array) -> Array:
        self.asked.append(("predict", len(x)))
        return np.asarray(self.answer)


@pytest.fixture
def runtimes(monkeypatch: pytest.MonkeyPatch) -> dict[str, Recorder]:
    recorders = {name: Recorder() for name in ("bundle", "filtering", "sliding")}
    monkeypatch.setattr(convolution, "device_plan", lambda learner: SimpleNamespace())
    monkeypatch.setattr(convolution, "_variants", lambda plan, options: recorders)
    return recorders


def test_each_row_compares_the_bundle_with_what_it_replaces(runtimes: dict[str, Recorder]) -> None:
    found = convolution.bench_convolution(BenchmarkOptions(2, lambda text: None))
    assert [(row.task, row.peer, row.measure, len(row.tegu), len(row.other)) for row in found] == [
        ("adapt", "sliding", "time", 2, 2),
        ("predict-20", "sliding", "time", 2, 2),
        ("predict-1", "filtering", "time", 2, 2),
    ]
    assert set(runtimes["bundle"].asked) == {("adapt", 20), ("predict", 20), ("predict", 1)}
    assert set(runtimes["sliding"].asked) == {("adapt", 20), ("predict", 20)}
    assert set(runtimes["filtering"].asked) == {("predict", 1)}


def test_variants_that_disagree_are_refused(runtimes: dict[str, Recorder]) -> None:
    runtimes["sliding"].answer = 0.01
    with pytest.raises(RuntimeFailure, match=r"two variants differ by 1\.0e-02"):
        convolution.bench_convolution(BenchmarkOptions(1, lambda text: None, tasks=["adapt"]))


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="predict-1"):
        convolution.bench_convolution(BenchmarkOptions(1, lambda text: None, tasks=["predict-2"]))


@pytest.mark.slow
def test_the_compiled_variants_agree() -> None:
    rows = convolution.bench_convolution(BenchmarkOptions(1, lambda text: None, tasks=["predict-1"]))
    assert [row.peer for row in rows] == ["filtering"]
    assert min(*rows[0].tegu, *rows[0].other) > 0
