"""Item neighbours, naive Bayes and ALS on small clicks, each against sums written out; and what tuning may see."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tegu.core.data.batch import Array, full_batch
from tegu.core.data.spec import Spec
from tegu.core.sampling.trials import Trial, Trials
from tegu.sim.data.population import Population
from tegu.sim.experiments.baselines.als import AlsSetting, als_scores, item_vectors
from tegu.sim.experiments.baselines.clicks import Scores, click_matrix, item_to_item, shares, tuned_with_popularity
from tegu.sim.experiments.baselines.ease import ease, item_weights
from tegu.sim.experiments.baselines.item_knn import similarities
from tegu.sim.experiments.baselines.naive_bayes import log_lifts

ITEMS = 6
CLICKS = np.asarray([[1, 1, 0, 0, 0, 1], [1, 1, 1, 0, 0, 0], [0, 1, 0, 1, 1, 0], [0, 0, 0, 1, 1, 0]], float)


def people(clicks: Array) -> Population:
    user, item = np.nonzero(clicks)
    return Population.from_arrays(item, clicks[user, item].astype(np.float32), user, Spec.ranking(clicks.shape[1]))


def one_trial(items: list[int]) -> Trials:
    support = full_batch(np.asarray(items), np.ones(len(items), np.float32))
    return Trials(Spec.ranking(ITEMS), len(items), [Trial(0, support, full_batch(np.asarray([0]), np.ones(1)))])


def test_cosines_are_shrunk() -> None:
    found = similarities(CLICKS, 10.0)
    assert found[0, 1] == pytest.approx(2 / (math.sqrt(2 * 3) + 10))
    assert found[3, 4] == pytest.approx(2 / 12)
    assert found[0, 3] == 0
    assert np.diag(found).tolist() == [0] * ITEMS


def test_lifts_are_of_smoothed_counts() -> None:
    share, lifts = log_lifts(CLICKS, 3.0)
    assert share[1] == pytest.approx(math.log(3.5 / 5))
    # Two of the two users of item 0 clicked item 1, and three more click it with its share.
    assert lifts[0, 1] == pytest.approx(math.log((2 + 3 * 0.7) / (2 + 3)) - math.log(0.7))
    assert lifts[2, 2] == 0


def test_als_finds_the_minimum_of_its_loss() -> None:
    """No small move of an item's vector lowers the loss at the users' best vectors."""
    setting = AlsSetting(2, 0.2, 0.3)
    weight = np.where(CLICKS > 0, 1.0, setting.unseen)
    vectors = item_vectors(people(CLICKS), setting)

    def loss(items: Array) -> float:
        total = setting.ridge * np.square(items).sum()
        for row, weights in zip(CLICKS, weight, strict=True):
            matrix = (items.T * weights) @ items + setting.ridge * np.eye(2)
            user = np.linalg.solve(matrix, items.T @ (weights * row))
            total += (weights * np.square(row - items @ user)).sum() + setting.ridge * user @ user
        return float(total)

    rng, base = np.random.default_rng(0), loss(vectors)
    start = loss(0.1 * rng.standard_normal(vectors.shape))
    assert base < 0.7 * start
    moves = [loss(vectors + 0.02 * rng.standard_normal(vectors.shape)) - base for _ in range(50)]
    assert min(moves) > -0.01 * base


def test_als_scores_are_those_of_the_users_weighted_least_squares() -> None:
    """By weights for every item of the catalogue: the confidence of a click, and that of what was not clicked."""
    setting, users = AlsSetting(2, 0.2, 0.3), people(CLICKS)
    vectors, own = item_vectors(users, setting), np.asarray([0.0, 2.5, 0, 0, 1.0, 0])
    weights = np.where(own > 0, own, setting.unseen)
    taste = np.linalg.solve((vectors.T * weights) @ vectors + 0.3 * np.eye(2), vectors.T @ (weights * (own > 0)))
    found = als_scores(users, setting)(np.asarray([1, 4]), np.asarray([2.5, 1.0]))
    np.testing.assert_allclose(found, vectors @ taste, rtol=1e-9)


def test_a_matrix_of_clicks_counts_repeats_once_and_weights_by_confidence() -> None:
    x, y = np.asarray([2, 2, 0]), np.asarray([1.0, 1.0, math.e], np.float32)
    found = click_matrix(Population.from_arrays(x, y, np.zeros(3, int), Spec.ranking(3)))
    np.testing.assert_allclose(found, [[2.0, 0.0, 1.0]], atol=1e-6)


def test_ease_scores_by_the_weights_of_the_best_setting() -> None:
    train = people(np.tile(CLICKS, (5, 1)))
    (scores,) = ease(train, train)(2)(one_trial([0, 2]))
    clicks = click_matrix(train)
    candidates = []
    for penalty in (30.0, 100.0, 400.0, 1000.0):
        for mean in (0 * clicks.mean(0), clicks.mean(0)):
            weights = item_weights(clicks - mean, penalty)
            centred = (np.asarray([1, 0, 1, 0, 0, 0]) - mean) @ weights + mean
            candidates += [centred + blend * shares(train) for blend in (0, 0.05, 0.15, 0.4, 1, 3)]
    assert min(np.abs(scores - each).max() for each in candidates) < 1e-9


def test_settings_are_chosen_by_calibration_users_and_fitted_to_training_users() -> None:
    """Training users click the items 0 and 21, calibration users 0 and 20. Ten items with lower ids win a tie."""
    spec, clicked = Spec.ranking(30), np.ones(6, np.float32)
    names = np.repeat(np.asarray(["a", "b", "c"]), 2)
    train = Population.from_arrays(np.asarray([0, 21] * 3), clicked, names, spec)
    calibration = Population.from_arrays(np.asarray([0, 20] * 3), clicked, np.char.add("new ", names), spec)
    fitted: list[tuple[str, int]] = []

    def fit(users: Population, partner: int) -> Scores:
        fitted.append((str(users.users[0]), partner))
        weights = np.zeros((30, 30))
        weights[0, partner] = weights[partner, 0] = 1
        return item_to_item(weights)

    chosen = tuned_with_popularity(train, calibration, [21, 20], fit)
    (scores,) = chosen(1)(one_trial([0]))
    assert scores.argmax() == 20
    assert sorted(fitted) == [("a", 20), ("a", 21)]
