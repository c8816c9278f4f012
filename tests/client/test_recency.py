"""On a device older interactions count less, where the application says so; otherwise nothing is changed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.client.graphs import linear_adapt, linear_bundle, linear_predict, linear_rows
from torch import nn

from tegu.client import Personalizer
from tegu.client.runtimes.onnx_runtime import OnnxRuntime
from tegu.client.runtimes.torch_runtime import TorchRuntime
from tegu.compile import make_bundle
from tegu.core.bundle.file import Bundle
from tegu.core.bundle.manifest import Knobs, ScheduleEntry
from tegu.core.data.batch import Array, Batch, NumpyBatch, full_batch
from tegu.core.data.spec import Spec
from tegu.core.data.tree import Tree
from tegu.core.errors import DataError
from tegu.learners.algorithms.residual_correction import residual_correction

X, Y = linear_rows(7)
HALF_LIFE = 1.5
WEIGHTS = np.asarray([0.5 ** (age / HALF_LIFE) for age in range(6, -1, -1)], np.float32)


def expected(seed: int, weights=WEIGHTS, rows: int = 7):
    support = Batch(X[:rows], Y[:rows], weights[-rows:])
    return linear_predict(linear_adapt(linear_bundle(seed).meta, support, 5, 0.1), X)


def test_older_interactions_count_less() -> None:
    with Personalizer.open(linear_bundle(), half_life=HALF_LIFE) as p:
        for rows, (x, y) in enumerate(zip(X, Y, strict=True), 1):
            p.observe(x, y)
            assert p.adapt().interactions == rows
            np.testing.assert_allclose(p.predict(X), expected(0, rows=rows), atol=1e-5)
        assert np.abs(p.predict(X) - expected(0, np.ones(7, np.float32))).max() > 0.05


def test_an_upgrade_abides_by_it() -> None:
    with Personalizer.open(linear_bundle(0), half_life=HALF_LIFE) as p:
        p.observe(X, Y)
        report = p.upgrade(linear_bundle(1))
        np.testing.assert_allclose(p.predict(X), expected(1), atol=1e-5)
    assert report is not None
    assert report.effective_sample_size == pytest.approx(WEIGHTS.sum() ** 2 / np.square(WEIGHTS).sum(), rel=1e-6)


def test_in_torch_as_in_onnx() -> None:
    bundle = linear_bundle()
    runtime = TorchRuntime(nn.Linear(3, 1), bundle.manifest)
    with Personalizer.open(bundle, runtime=runtime, half_life=HALF_LIFE) as p:
        p.observe(X, Y)
        p.adapt()
        np.testing.assert_allclose(p.predict(X), expected(0), atol=1e-5)


@pytest.fixture(scope="module")
def correction() -> tuple[Bundle, object]:
    learner = residual_correction(
        nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)), Spec.regression((3,), 1), init="fresh"
    )
    return make_bundle(learner, learner.init(0)), learner


def test_a_correction_on_the_device_is_the_learners(correction) -> None:
    bundle, learner = correction
    with Personalizer.open(bundle, half_life=HALF_LIFE) as p:
        p.observe(X, Y)
        report = p.adapt()
        found = p.predict(X)
    meta = {name: torch.tensor(value) for name, value in bundle.meta.items()}
    support = Batch(*map(torch.from_numpy, (X, Y, WEIGHTS)))
    state = learner.adapt(meta, support, learner.knobs, torch.zeros(0))
    np.testing.assert_allclose(found, learner.predict(meta, state, torch.from_numpy(X)), atol=1e-4)
    assert report.loo_improvement == pytest.approx(float(state["loo_improvement"]), abs=1e-4)


@pytest.mark.parametrize("kind", ["gradient", "correction"])
def test_without_a_half_life_every_bit_is_as_before(correction, kind: str) -> None:
    """As the runtime gives it for rows that all count 1, which is what was adapted on before there was a half-life."""
    bundle = linear_bundle() if kind == "gradient" else correction[0]
    runtime, knobs = OnnxRuntime(bundle.graphs), bundle.manifest.knobs
    with Personalizer.open(bundle) as p, Personalizer.open(bundle, half_life=None) as told:
        for one in (p, told):
            one.observe(X, Y)
            report = one.adapt()
            assert (report.effective_sample_size, report.interactions) == (7, 7)
            assert "less weight" not in report.reason
            state = runtime.adapt(bundle.meta, full_batch(X, Y), knobs)
            assert one.predict(X).tobytes() == runtime.predict(bundle.meta, state, X).tobytes()


@pytest.mark.parametrize(("half_life", "steps"), [(None, 9), (1e6, 9), (3.0, 9), (1.0, 3)])
def test_the_schedule_goes_by_the_effective_number(half_life: float | None, steps: int) -> None:
    """Of 7 interactions: 5.82 at a half-life of 3, which rounds to 6, and 2.95 at one of 1."""
    schedule = (ScheduleEntry(3, {"steps": 3}), ScheduleEntry(6, {"steps": 9}))
    with Personalizer.open(linear_bundle(schedule=schedule), half_life=half_life) as p:
        p.observe(X, Y)
        report = p.adapt()
    assert report.steps == steps
    if half_life == 1.0:
        exact = (2 - 2**-6) ** 2 / ((1 - 4**-7) / (1 - 1 / 4))
        assert report.effective_sample_size == pytest.approx(exact, rel=1e-6)
        assert report.reason.endswith(" Older interactions have less weight: 7 interactions count as 2.95.")


def test_below_the_schedule_the_initialisation_serves_however_many_there_are() -> None:
    bundle = linear_bundle(schedule=(ScheduleEntry(4, {"steps": 3}),))
    with Personalizer.open(bundle, half_life=1.0) as p:
        p.observe(X, Y)
        assert p.adapt().steps == 0
        np.testing.assert_allclose(p.predict(X), linear_predict(bundle.meta, X), atol=1e-6)


class _Sum:
    """A runtime without steps, whose state is what the rows count for."""

    def adapt(self, meta: Tree, support: NumpyBatch, knobs: Knobs, noise: Array) -> Tree:
        return {"sum": support.mask.sum(keepdims=True)}

    def predict(self, meta: Tree, state: Tree, x: Array) -> Array:
        return np.repeat(state["sum"][None], len(x), 0)


def test_below_the_schedule_a_learner_without_steps_does_not_adapt_either() -> None:
    bundle = linear_bundle(schedule=(ScheduleEntry(4, {}),))
    bundle = replace(bundle, manifest=replace(bundle.manifest, knobs={"prior": 1.0}, unadapted={"prior": 0.0}))
    for half_life, found in ((1.0, 0.0), (None, 7.0)):
        with Personalizer.open(bundle, runtime=_Sum(), half_life=half_life) as p:
            p.observe(X, Y)
            p.adapt()
            assert p.predict(X)[0, 0] == found


def test_the_newest_are_the_same_ones_with_the_same_weights(correction) -> None:
    bundle, _ = correction
    limited = replace(bundle, manifest=replace(bundle.manifest, window=4))
    with Personalizer.open(limited, half_life=2.0) as p, Personalizer.open(bundle, half_life=2.0) as other:
        p.observe(X, Y)
        other.observe(X[3:], Y[3:])
        assert p.adapt().effective_sample_size == other.adapt().effective_sample_size
        np.testing.assert_array_equal(p.predict(X), other.predict(X))


@pytest.mark.parametrize("wrong", [0.0, -2.0, float("nan")])
def test_what_is_no_half_life_is_refused(wrong: float) -> None:
    with pytest.raises(DataError, match=r"half_life is .*: expected a number"):
        Personalizer.open(linear_bundle(), half_life=wrong)
