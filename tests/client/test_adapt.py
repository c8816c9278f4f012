"""The schedule, the budget, and which states are kept."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest
from tests.client.graphs import linear_bundle, linear_predict, linear_rows

from tegu.client import AdaptReport, Personalizer, personalizer
from tegu.client.adaptation import budget, model
from tegu.core.bundle.manifest import Knobs, ScheduleEntry
from tegu.core.data.batch import Array, NumpyBatch
from tegu.core.data.tree import Tree
from tegu.core.errors import DataError, RuntimeFailure, StoreError

X, Y = linear_rows(7)


class _Fake:
    """A runtime and its clock: steps take a known time, and the state tells what `adapt` was called with."""

    def __init__(self, seconds: float = 0.0, load: float = 0.0) -> None:
        self.seconds, self.load, self.calls = seconds, load, 0
        self.value, self.now = 1.0, 0.0

    def perf_counter(self) -> float:
        return self.now

    def adapt(self, meta: Tree, support: NumpyBatch, knobs: Knobs, noise: Array) -> Tree:
        self.calls += 1
        steps = knobs.get("steps", 1)
        self.now += self.load + self.seconds * steps
        self.load = 0.0
        rows = support.mask.sum()
        return {"state": np.array([steps, rows, self.value if rows else 0.0], np.float32)}

    def predict(self, meta: Tree, state: Tree, x: Array) -> Array:
        return np.full((len(x), 1), state["state"][2], np.float32)


def test_nothing_observed_is_an_empty_support() -> None:
    with Personalizer.open(linear_bundle()) as p, pytest.raises(DataError, match="empty support: observe at least one"):
        p.adapt()


def test_the_report_says_what_was_done() -> None:
    with Personalizer.open(linear_bundle(steps=4, lr=0.05)) as p:
        p.observe(X, Y)
        report = p.adapt()
    assert (report.steps, report.scheduled_steps, report.interactions, report.lr) == (4, 4, 7, 0.05)
    assert report.kept
    assert "4 steps" in report.reason
    assert 0 < report.milliseconds < 5000
    assert isinstance(report, AdaptReport)
    with pytest.raises(FrozenInstanceError):
        report.steps = 3  # type: ignore[misc]


def test_the_schedule_decides_by_the_number_of_interactions() -> None:
    schedule = (ScheduleEntry(2, {"steps": 3, "lr": 0.2}), ScheduleEntry(5, {"steps": 9}))
    with Personalizer.open(linear_bundle(schedule=schedule)) as p:
        found = []
        for x, y in zip(X, Y, strict=True):
            p.observe(x, y)
            report = p.adapt()
            found.append((report.steps, report.lr))
    assert found == [(0, 0.1), (3, 0.2), (3, 0.2), (3, 0.2), (9, 0.1), (9, 0.1), (9, 0.1)]


def test_below_the_schedule_the_initialisation_serves() -> None:
    bundle = linear_bundle(schedule=(ScheduleEntry(2, {"steps": 3}),))
    with Personalizer.open(bundle) as p:
        p.observe(X[0], Y[0])
        report = p.adapt()
        np.testing.assert_allclose(p.predict(X), linear_predict(bundle.meta, X), atol=1e-6)
    assert "the initialisation is used unchanged" in report.reason


def test_below_the_schedule_a_learner_without_steps_does_not_adapt_either() -> None:
    bundle = linear_bundle(schedule=(ScheduleEntry(2, {}),))
    bundle = replace(bundle, manifest=replace(bundle.manifest, knobs={"prior": 1.0}, unadapted={"prior": 0.0}))
    with Personalizer.open(bundle, runtime=_Fake()) as p:
        p.observe(X[0], Y[0])
        assert p.adapt().steps == 0
        assert p.predict(X)[0, 0] == 0
        p.observe(X[1], Y[1])
        report = p.adapt()
        assert (report.steps, report.scheduled_steps, report.lr) == (1, 1, None)
        assert p.predict(X)[0, 0] == 1


def test_the_initial_state_is_computed_once() -> None:
    fake = _Fake()
    with Personalizer.open(linear_bundle(), runtime=fake) as p:
        p.predict(X)
        p.predict(X)
    assert fake.calls == 1


def _keep_time(fake: _Fake, monkeypatch: pytest.MonkeyPatch) -> _Fake:
    for module in (budget, model, personalizer):
        monkeypatch.setattr(module, "time", fake)
    return fake


def test_a_budget_limits_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = _keep_time(_Fake(seconds=1 / 128), monkeypatch)
    with Personalizer.open(linear_bundle(steps=1000), runtime=fake) as p:
        p.observe(X, Y)
        report = p.adapt(budget_ms=125)
    # One step to know how long it takes, and as many as then fit: 16 in all.
    assert (report.steps, report.scheduled_steps, report.milliseconds) == (15, 1000, 125)
    assert report.kept
    assert "budget" in report.reason


def test_time_for_half_a_step_more_is_time_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = _keep_time(_Fake(seconds=1 / 128), monkeypatch)
    with Personalizer.open(linear_bundle(steps=1000), runtime=fake) as p:
        p.observe(X, Y)
        assert p.adapt(budget_ms=1500 / 128).steps == 1
        assert fake.calls == 2  # no steps, to load the graph, and one: what was timed is what is used


def test_loading_the_graph_counts_but_does_not_pass_for_a_slow_step(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = _keep_time(_Fake(seconds=1 / 128, load=1 / 16), monkeypatch)
    with Personalizer.open(linear_bundle(steps=1000), runtime=fake) as p:
        p.observe(X, Y)
        assert p.adapt(budget_ms=125).steps == 7


def test_the_smallest_budget_still_takes_one_step() -> None:
    with Personalizer.open(linear_bundle(steps=5)) as p:
        p.observe(X, Y)
        assert p.adapt(budget_ms=0).steps == 1


def test_a_generous_budget_takes_all_steps_and_gives_the_same_state() -> None:
    with Personalizer.open(linear_bundle(steps=5)) as p:
        p.observe(X, Y)
        p.adapt()
        unlimited = p.predict(X)
        for generous in (60_000, float("inf")):
            assert p.adapt(budget_ms=generous).steps == 5
            np.testing.assert_array_equal(p.predict(X), unlimited)


@pytest.mark.parametrize("wrong", [-1, float("nan")])
def test_a_budget_is_a_time(wrong: float) -> None:
    with Personalizer.open(linear_bundle()) as p:
        p.observe(X, Y)
        with pytest.raises(DataError, match="budget_ms"):
            p.adapt(wrong)


def test_a_state_that_is_not_finite_is_not_kept(tmp_path: Path) -> None:
    fake = _Fake()
    with Personalizer.open(linear_bundle(), tmp_path / "me.db", runtime=fake) as p:
        p.observe(X, Y)
        p.adapt()
        fake.value = np.nan
        report = p.adapt()
        assert not report.kept
        assert "not finite" in report.reason
        assert p.predict(X)[0, 0] == 1
    with Personalizer.open(linear_bundle(), tmp_path / "me.db", runtime=fake) as p:
        assert p.predict(X)[0, 0] == 1


def test_diverging_for_real_leaves_the_initialisation() -> None:
    bundle = linear_bundle(steps=200, lr=50.0)
    with Personalizer.open(bundle) as p:
        p.observe(X, Y)
        assert not p.adapt().kept
        np.testing.assert_allclose(p.predict(X), linear_predict(bundle.meta, X), atol=1e-6)


def test_a_state_that_cannot_be_saved_is_not_used(tmp_path: Path) -> None:
    with Personalizer.open(linear_bundle(), tmp_path / "me.db") as p:
        p.observe(X, Y)
        before = p.predict(X)
        with Personalizer.open(linear_bundle(), tmp_path / "me.db") as other:
            rows = p._store.load()
            p._store.load = lambda newest=None: rows  # type: ignore[method-assign] # read before the other process forgets
            other.forget()
        with pytest.raises(StoreError, match="emptied by another process"):
            p.adapt()
        np.testing.assert_array_equal(p.predict(X), before)
    with Personalizer.open(linear_bundle(), tmp_path / "me.db") as p:
        assert p._store.personal() is None


def test_an_output_of_the_wrong_shape_is_refused() -> None:
    class Wrong(_Fake):
        def predict(self, meta: Tree, state: Tree, x: Array) -> Array:
            return np.zeros(len(x), np.float32)

    message = r"shape \(7,\) and dtype float32: expected \(7, 1\)"
    with Personalizer.open(linear_bundle(), runtime=Wrong()) as p, pytest.raises(RuntimeFailure, match=message):
        p.predict(X)
