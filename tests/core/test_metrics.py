"""Metrics against computations of another kind."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.samples import refused

from tegu.core.data.spec import Spec
from tegu.core.errors import UnknownNameError
from tegu.core.metrics import METRICS, Metric, default_metric, find_metric

NOTHING = np.zeros(0, np.int64)


@given(
    scores=st.lists(st.integers(0, 4), min_size=1, max_size=30),
    data=st.data(),
)
def test_recall_is_that_of_picking_the_best_unseen_item_ten_times(scores: list[int], data: st.DataObject) -> None:
    items = st.sampled_from(range(len(scores)))
    seen = data.draw(st.lists(items, max_size=5))
    held = data.draw(st.lists(items, min_size=1, max_size=20))
    left = [item for item in range(len(scores)) if item not in seen]
    held = [item for item in held if item in left]
    if len(left) < 10 or not held:
        return
    picked = []
    for _ in range(10):
        best = left[0]
        for item in left:
            if scores[item] > scores[best]:  # strictly: the lower id wins a tie
                best = item
        picked.append(best)
        left.remove(best)
    hits = sum(item in picked for item in set(held))
    found = METRICS["recall@10"].score(np.asarray(scores, np.float32), np.asarray(held), np.asarray(seen, np.int64))
    assert found == hits / min(10, len(set(held)))


def test_recall_by_hand() -> None:
    scores = np.arange(20.0)  # the best ten are 10 to 19
    recall = METRICS["recall@10"].score
    assert recall(scores, np.asarray([19, 3]), NOTHING) == 1 / 2
    assert recall(scores, np.asarray([19, 9, 3]), np.asarray([12])) == 2 / 3
    assert recall(scores, np.arange(5, 20), NOTHING) == 1.0
    assert recall(np.zeros(20), np.asarray([9, 10]), NOTHING) == 1 / 2
    assert recall(np.zeros(20), np.asarray([10, 11]), np.asarray([0])) == 1 / 2
    assert scores.tolist() == list(range(20))


def test_accuracy_and_errors_by_hand() -> None:
    logits = np.asarray([[0.1, 0.9], [0.8, 0.2], [0.5, 0.5]])
    assert METRICS["accuracy"].score(logits, np.asarray([1, 1, 0]), NOTHING) == pytest.approx(2 / 3)
    outputs, y = np.asarray([[1.0, 2.0], [3.0, 4.0]], np.float32), np.asarray([[1.0, 0.0], [0.0, 4.0]], np.float32)
    assert METRICS["mse"].score(outputs, y, NOTHING) == (0 + 4 + 9 + 0) / 4
    assert METRICS["rmse"].score(outputs, y, NOTHING) == math.sqrt(13 / 4)


def test_the_accuracy_of_several_labels_by_hand() -> None:
    logits, y = np.asarray([[2.0, -1.0], [0.5, 3.0]]), np.asarray([[1, 1], [0, 1]])
    metric = default_metric(Spec.multilabel((3,), 2))
    assert metric.score(logits, y, NOTHING) == 2 / 4
    assert metric.resolution(0.5, y) == 1 / 4


def test_squares_are_added_up_in_double_precision() -> None:
    outputs, y = np.full((4, 1), 3e30, np.float32), np.zeros((4, 1), np.float32)
    assert METRICS["mse"].score(outputs, y, NOTHING) == pytest.approx(9e60)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_a_prediction_that_is_nan_scores_nan(name: str) -> None:
    """argmax would name a class and sorting would recommend by id, which may look well."""
    outputs = np.asarray([[0.0, np.nan], [1.0, 0.0]]) if name != "recall@10" else np.asarray([np.nan] * 20)
    y = {"accuracy": np.asarray([1, 0]), "recall@10": np.arange(10)}.get(name, np.zeros((2, 2)))
    assert math.isnan(METRICS[name].score(outputs, y, NOTHING))


@pytest.mark.parametrize(("name", "better"), [("accuracy", 1), ("recall@10", 1), ("mse", -1), ("rmse", -1)])
def test_a_gain_is_positive_for_better(name: str, better: int) -> None:
    assert METRICS[name].higher_is_better == (better == 1)
    assert METRICS[name].gain(np.asarray([0.75, 0.25]), np.asarray([0.5, 0.5])).tolist() == [
        0.25 * better,
        -0.25 * better,
    ]


def test_accuracy_resolves_one_answer() -> None:
    y = np.asarray([0, 1, 1, 0, 1])
    right = np.eye(2)[y]
    one_wrong = np.eye(2)[[1, 1, 1, 0, 1]]
    accuracy = METRICS["accuracy"]
    changed = accuracy.score(right, y, NOTHING) - accuracy.score(one_wrong, y, NOTHING)
    assert accuracy.resolution(0.7, y) == pytest.approx(changed) == pytest.approx(0.2)


@pytest.mark.parametrize("held", [[19, 3], [19, 19, 3], range(5, 20), range(10, 20)])
def test_recall_resolves_one_hit(held: list[int]) -> None:
    """Ten recommendations with one hit less lose the resolution; an item held back twice is one."""
    y, recall = np.asarray(held), METRICS["recall@10"]
    hits, misses = sorted(set(held))[:10], [item for item in range(40) if item not in held]
    figures = []
    for kept in (hits, hits[1:]):
        scores = np.zeros(40)
        scores[[*kept, *misses[: 10 - len(kept)]]] = 1
        figures.append(recall.score(scores, y, NOTHING))
    assert recall.resolution(0.7, y) == pytest.approx(figures[0] - figures[1]) == pytest.approx(1 / len(hits))


def test_errors_resolve_one_typical_row() -> None:
    """Where all rows are as wrong as each other, putting one of them right takes the resolution off."""
    y = np.zeros((8, 2), np.float32)
    outputs = np.tile(np.asarray([3.0, 1.0], np.float32), (8, 1))
    one_right = outputs.copy()
    one_right[5] = 0
    mse, rmse = METRICS["mse"], METRICS["rmse"]
    before, after = (mse.score(each, y, NOTHING) for each in (outputs, one_right))
    assert mse.resolution(before, y) == pytest.approx(before - after) == pytest.approx(5 / 8)
    # The square root's slope there, from two points next to each other: the two metrics call the same change harm.
    step = 1e-6
    slope = (math.sqrt(before + step) - math.sqrt(before - step)) / (2 * step)
    assert rmse.resolution(math.sqrt(before), y) == pytest.approx(slope * mse.resolution(before, y))


def test_a_metric_of_ones_own_counts_every_change() -> None:
    assert Metric("own", True, lambda outputs, y, seen: 0.0).resolution(0.5, np.zeros(3)) == 0


def test_names() -> None:
    assert find_metric("recall@10") is METRICS["recall@10"]
    specs = (Spec.classification((3,), 2), Spec.regression((3,)), Spec.regression((), items=5), Spec.ranking(5))
    assert [default_metric(spec).name for spec in specs] == ["accuracy", "mse", "rmse", "recall@10"]
    with refused(UnknownNameError, "'acuracy'", "Did you mean 'accuracy'?", "rmse"):
        find_metric("acuracy")


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if metric.along])
def test_rows_of_outputs_between_two_others_are_those_of_each(name: str) -> None:
    rng, metric = np.random.default_rng(0), METRICS[name]
    parts = np.asarray([0.0, 0.1, 0.25, 0.5, 0.7, 0.99, 1.0], np.float32)
    y = rng.integers(0, 4, 60) if name == "accuracy" else rng.integers(0, 2, (60, 4))
    before = rng.normal(size=(60, 4)).astype(np.float32)
    after = (before + 2 * rng.normal(size=(60, 4))).astype(np.float32)
    assert metric.along is not None
    assert metric.rows is not None
    found = metric.along(before, after, parts, y)
    each = np.stack([metric.rows(before + part * (after - before), y, NOTHING) for part in parts])
    np.testing.assert_allclose(found, each, rtol=1e-5, atol=1e-6)
    assert len(np.unique(each, axis=0)) > 3, "parts differ"


def test_many_classes_are_scored_in_pieces() -> None:
    rng, metric = np.random.default_rng(1), METRICS["accuracy"]
    before, after = rng.normal(size=(2, 50, 5000)).astype(np.float32)
    parts, y = np.linspace(0, 1, 5, dtype=np.float32), after.argmax(-1)
    assert metric.along is not None
    found = metric.along(before, after, parts, y).mean(1)
    assert found.tolist() == [metric.score(before + t * (after - before), y, NOTHING) for t in parts]
    assert found[-1] == 1
