"""EASE, compared with ridge regression item by item."""

from __future__ import annotations

import numpy as np
import pytest

from tegu.core.data.batch import Array, full_batch
from tegu.core.data.spec import Spec
from tegu.core.sampling.trials import Trial, Trials
from tegu.sim.data.population import Population
from tegu.sim.data.trials import draw_trials
from tegu.sim.engine.predictions import score
from tegu.sim.experiments.baselines.ease import PENALTY, ease, item_weights
from tegu.sim.experiments.baselines.popularity import popularity
from tegu.sim.experiments.movielens import clicks, movielens

USERS, ITEMS = 12, 7


def ridge(given: Array, penalty: float) -> Array:
    """Regress each item on all others: least squares, with `sqrt(penalty)` of every weight as further rows."""
    items = given.shape[1]
    weights = np.zeros((items, items))
    for item in range(items):
        others = [other for other in range(items) if other != item]
        design = np.concatenate([given[:, others], np.sqrt(penalty) * np.eye(items - 1)])
        target = np.concatenate([given[:, item], np.zeros(items - 1)])
        weights[others, item] = np.linalg.lstsq(design, target, rcond=None)[0]
    return weights


@pytest.mark.parametrize("penalty", [0.5, 3.0, 150.0])
def test_the_weights_are_those_of_ridge_regression_without_the_item_itself(penalty: float) -> None:
    given = (np.random.default_rng(0).random((USERS, ITEMS)) < 0.4).astype(float)
    found = item_weights(given, penalty)
    assert np.diag(found).tolist() == [0] * ITEMS
    np.testing.assert_allclose(found, ridge(given, penalty), atol=1e-12)


def test_scores_are_the_weights_from_the_items_of_the_support() -> None:
    rng = np.random.default_rng(1)
    given = (rng.random((USERS, ITEMS)) < 0.5) * rng.integers(1, 4, (USERS, ITEMS))
    given[:, 2] = np.maximum(given[:, 2], 1)  # everyone has clicked something
    user, item = np.nonzero(given)
    spec = Spec.ranking(ITEMS)
    # As a training population of a split: users in an order of their own, rows shared with others.
    train = Population.from_arrays(item, given[user, item].astype(np.float32), user, spec).subset([3, 0, 7, 9])
    support = full_batch(np.asarray([4, 1]), np.asarray([1.0, 2.5], np.float32))
    trials = Trials(train.spec, 2, [Trial(0, support, full_batch(np.asarray([0]), np.ones(1)))])
    weights = ridge(given[[3, 0, 7, 9]].astype(float), PENALTY)
    (scores,) = ease(train, train)(2)(trials)
    np.testing.assert_allclose(scores, weights[4] + 2.5 * weights[1], atol=1e-12)


def test_the_recall_on_films_is_as_expected() -> None:
    """Measured over seeds 0 to 4: 0.36 to 0.42 at k = 5, 0.41 to 0.45 at k = 10; the mean is 0.382 and 0.426."""
    split = clicks()[0].split(0)
    methods = ease(split.train, split.calibration), popularity(split.train, split.calibration)
    metric = movielens(seed=0).metric
    for k, low, high in ((5, 0.35, 0.43), (10, 0.40, 0.46)):
        trials = draw_trials(split.heldout, k, 1)
        found, popular = (score(method(k), trials, metric).mean() for method in methods)
        assert low < found < high
        assert found > popular + 0.03
