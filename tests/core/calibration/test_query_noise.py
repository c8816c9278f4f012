"""Squared gains less the noise of few query rows, against all pairs of rows."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from tegu.core.calibration.guard import blend_outputs
from tegu.core.calibration.query_noise import (
    gains_along,
    gains_over,
    query_rows,
    row_gains,
    row_values,
    squares_less_noise,
)
from tegu.core.data.batch import Array, full_batch
from tegu.core.data.spec import Spec
from tegu.core.metrics import METRICS
from tegu.core.sampling.trials import Trial, Trials, trial_scores

NAMES = ("accuracy", "label_accuracy", "mse", "rmse", "recall@10")
ITEMS = 30


def trials_of(name: str, rng: np.random.Generator, users: int = 4, draws: int = 3) -> tuple[Trials, list[Array]]:
    """Trials of users with 9 rows, of which each draw queries 3 to 6, and outputs for them."""
    spec = {
        "accuracy": Spec.classification((2,), 3),
        "label_accuracy": Spec.multilabel((2,), 3),
        "recall@10": Spec.ranking(ITEMS),
    }.get(name, Spec.regression((2,), 2))
    found, outputs = [], []
    for user in range(users):
        items = rng.permutation(ITEMS)[:9]
        for _ in range(draws):
            rows = rng.permutation(9)[: rng.integers(3, 7)]
            x = items[rows] if name == "recall@10" else rng.normal(size=(len(rows), 2)).astype(np.float32)
            out = rng.normal(size=ITEMS if name == "recall@10" else (len(rows), spec.outputs))
            y = {
                "accuracy": rng.integers(0, 3, len(rows)),
                "label_accuracy": rng.integers(0, 2, (len(rows), 3)),
                "recall@10": np.ones(len(rows)),
            }.get(name, rng.normal(size=(len(rows), 2)))
            support = full_batch(x[:0], y[:0])
            found.append(Trial(user, support, full_batch(x, y), units=rows))
            outputs.append(out)
    return Trials(spec, 1, found), outputs


@pytest.mark.parametrize("name", NAMES)
def test_rows_add_up_to_the_metric_and_to_the_gain(name: str) -> None:
    rng, metric = np.random.default_rng(0), METRICS[name]
    trials, before = trials_of(name, rng)
    after = [each + rng.normal(size=each.shape) for each in before]
    rows = query_rows(trials)
    assert rows is not None
    assert metric.rows is not None
    values = [row_values(trials, each, metric.rows) for each in (before, after)]
    means = np.bincount(rows.trial, values[0]) / rows.size
    scores = [trial_scores(trials, each, metric) for each in (before, after)]
    np.testing.assert_allclose(np.sqrt(means) if metric.root else means, scores[0])
    gains = np.bincount(rows.trial, row_gains(rows, *values, metric)) / rows.size
    np.testing.assert_allclose(gains, metric.gain(scores[1], scores[0]), atol=1e-12)
    found = gains_over(trials, before, scores[0], metric)(after)
    np.testing.assert_allclose(found.trials, gains, atol=1e-12)
    assert found.lasting is not None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("broken", [False, True])
def test_gains_of_parts_of_a_correction_are_those_of_each(name: str, broken: bool) -> None:
    rng, metric = np.random.default_rng(1), METRICS[name]
    trials, before = trials_of(name, rng)
    after = [each + 2 * rng.normal(size=each.shape) for each in before]
    if broken:
        after[0] = np.full_like(after[0], np.nan)
    scores = trial_scores(trials, before, metric)
    parts = rng.uniform(size=(6, len(before))).astype(np.float32)
    found = list(gains_along(trials, before, scores, metric)(after, parts))
    one_by_one = [gains_over(trials, before, scores, metric)(blend_outputs(before, after, each)) for each in parts]
    for ours, theirs in zip(found, one_by_one, strict=True):
        np.testing.assert_allclose(ours.trials, theirs.trials, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(ours.lasting, theirs.lasting, rtol=1e-4, atol=1e-6)
    assert np.isnan(found[0].trials).any() == broken


def test_items_that_occur_twice_share_a_hit() -> None:
    metric = METRICS["recall@10"]
    assert metric.rows is not None
    scores, seen, y = np.arange(ITEMS)[::-1].astype(float), np.asarray([0]), np.asarray([3, 3, 25])
    assert metric.rows(scores, y, seen).mean() == pytest.approx(metric.score(scores, y, seen))


def test_the_square_less_noise_is_the_mean_product_of_two_units() -> None:
    """Two draws of one user; rows 0 and 1 belong together, and weigh less than those that one draw alone has."""
    one, other = np.asarray([0, 0, 2]), np.asarray([0, 3])
    empty = full_batch(np.zeros((0, 1)), np.zeros(0, np.int64))
    draws = [
        Trial(0, empty, full_batch(np.zeros((len(u), 1)), np.zeros(len(u), np.int64)), units=u) for u in (one, other)
    ]
    rows = query_rows(Trials(Spec.classification((1,), 2), 1, draws))
    assert rows is not None
    gains = np.asarray([1.0, 0.0, -1.0, 1.0, 0.5])
    part = {0: (1 / 3 + 0) / 2 + 0.5 / 2, 2: -1 / 6, 3: 0.5 / 4}
    weight = {0: 1 / 3 + 1 / 4, 2: 1 / 6, 3: 1 / 4}
    pairs = list(permutations(part, 2))
    expected = sum(part[a] * part[b] for a, b in pairs) / sum(weight[a] * weight[b] for a, b in pairs)
    assert squares_less_noise(rows, gains) == pytest.approx([expected])


def test_a_user_with_one_unit_keeps_the_square() -> None:
    empty = full_batch(np.zeros((0, 1)), np.zeros(0, np.int64))
    query = full_batch(np.zeros((2, 1)), np.zeros(2, np.int64))
    trials = Trials(Spec.classification((1,), 2), 1, [Trial(0, empty, query, units=np.asarray([4, 4]))])
    rows = query_rows(trials)
    assert rows is not None
    assert squares_less_noise(rows, np.asarray([1.0, 0.0])) == pytest.approx([0.25])
    assert query_rows(Trials(trials.spec, 1, [Trial(0, empty, query)])) is None, "whose rows these are is not known"
