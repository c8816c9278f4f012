"""Scaling estimated from training users, and default settings that do not depend on units."""

from __future__ import annotations

import numpy as np
from torch import nn

from tegu.compile.examples import example_batch
from tegu.core import Spec, booleans, reals
from tegu.core.data.scaling import scaling_of
from tegu.sim import Population, simulate
from tegu.sim.data.scaling import scaling_of_users
from tegu.sim.defaults.choose import choose_learner


def test_scaling_of_two_rows_by_hand() -> None:
    found = scaling_of(np.asarray([[1.0, 5.0], [3.0, 5.0]], np.float32))
    assert (found.mean.tolist(), found.std.tolist()) == ([2.0, 5.0], [1.0, 1.0])  # the second feature is constant
    assert found.mean.dtype == found.std.dtype == np.float32


def test_each_feature_has_its_own_scaling_and_pictures_have_one() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal([1, 100], [0.1, 30], (400, 2)).astype(np.float32)
    pictures = rng.normal(3, 2, (400, 4, 5)).astype(np.float32)
    people, targets = np.repeat(np.arange(20), 20), rng.normal(-5, 8, 400).astype(np.float32)
    x, y = scaling_of_users(Population.from_arrays(vectors, targets, people), 0)
    assert x is not None
    assert y is not None
    np.testing.assert_allclose(x.mean, vectors.mean(0), rtol=1e-5)
    np.testing.assert_allclose(x.std, vectors.std(0), rtol=1e-5)
    np.testing.assert_allclose(y, (targets.mean(keepdims=True), targets.std(keepdims=True)), rtol=1e-5)
    x, y = scaling_of_users(Population.from_arrays(pictures, (targets > 0).astype(int), people), 0)
    assert x is not None
    assert y is None
    np.testing.assert_allclose([*x], [pictures.mean(), pictures.std()], rtol=1e-5)
    assert scaling_of_users(Population.from_arrays(np.arange(400) % 7, (targets > 0).astype(int), people), 0) == (
        None,
        None,
    )


def test_ids_and_booleans_keep_their_values() -> None:
    rng = np.random.default_rng(0)
    people, y = np.repeat(np.arange(20), 20), rng.normal(size=400)
    x = np.stack([rng.normal(30, 4, 400), rng.integers(0, 50, 400), rng.integers(0, 2, 400)], 1)
    found, _ = scaling_of_users(Population.from_arrays(x, y, people, Spec.regression((3,), ids={1: 50, 2: 2})), 0)
    assert found is not None
    np.testing.assert_allclose(found.mean, [x[:, 0].mean(), 0, 0], rtol=1e-5)
    np.testing.assert_allclose(found.std, [x[:, 0].std(), 1, 1], rtol=1e-5)
    only_ids = Population.from_arrays(x[:, 1:], y, people, Spec.regression((2,), ids={0: 50, 1: 2}))
    assert scaling_of_users(only_ids, 0)[0] is None


def test_each_named_input_has_its_own_scaling() -> None:
    rng = np.random.default_rng(0)
    given = {
        "mask": rng.random((400, 2)) < 0.5,
        "picture": rng.normal(7, 3, (400, 2, 2)),
        "place": rng.normal([1, 100], [0.1, 30], (400, 2)),
    }
    spec = Spec.regression({"mask": booleans(2), "picture": reals(2, 2), "place": reals(2)})
    people = Population.from_arrays(given, rng.normal(size=400), np.repeat(np.arange(20), 20), spec)
    found, _ = scaling_of_users(people, 0)
    assert found is not None
    for part, of, plain in ((found.mean, np.mean, 0), (found.std, np.std, 1)):
        expected = [plain, plain, *4 * [of(given["picture"])], *of(given["place"], axis=0)]
        np.testing.assert_allclose(part, expected, rtol=1e-5)


def test_a_thousand_of_many_users_are_read() -> None:
    people = Population.from_arrays(np.arange(4000.0), np.zeros(4000), np.repeat(np.arange(2000), 2))
    first, again, other = (scaling_of_users(people, seed)[0] for seed in (1, 1, 2))
    assert first is not None
    assert first == again
    assert first != other
    assert abs(float(first.mean) - 1999.5) < 150


def test_graphs_are_checked_on_rows_in_the_learners_units() -> None:
    people = population(scale=1000.0, offset=5e4)
    learner = choose_learner(people, network(), 0)
    assert learner.execution.example_scaling[0] is not None
    assert learner.gradient_learner is not None
    rows = example_batch(learner, 500, np.random.default_rng(0))
    np.testing.assert_allclose(rows.x.mean(0), learner.execution.example_scaling[0].mean, rtol=0.02)
    np.testing.assert_allclose(rows.x.std(0), learner.execution.example_scaling[0].std, rtol=0.2)
    assert learner.gradient_learner.execution.example_scaling == learner.execution.example_scaling


def population(scale: float = 1.0, offset: float = 0.0) -> Population:
    """Forty users whose lines differ in height, in a given unit."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(40 * 12, 2)).astype(np.float32)
    y = x[:, 0] + np.repeat(rng.normal(size=40), 12)
    return Population.from_arrays(x * scale + offset, (y * scale).astype(np.float32), np.repeat(np.arange(40), 12))


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1))


def test_default_settings_do_not_depend_on_units() -> None:
    """Without scaling, the second run diverges within a few rounds. Powers of two leave rounding unchanged."""
    own, far = (
        simulate(each, network(), rounds=30, cohort=8, init="fresh", engine="torch-vmap")
        for each in (population(), population(1024.0))
    )
    gains = [[entry.gain for entry in run.bundle.manifest.schedule] for run in (own, far)]
    np.testing.assert_allclose(np.asarray(gains[1]) / 1024**2, gains[0], rtol=1e-3, atol=1e-6)
    assert max(gains[0]) > 0.1
