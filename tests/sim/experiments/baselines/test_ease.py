"""EASE, compared with ridge regression item by item."""

from __future__ import annotations

import numpy as np
import pytest

from tegu.core.data.batch import Array
from tegu.sim.data.trials import draw_trials
from tegu.sim.engine.predictions import score
from tegu.sim.experiments.baselines.ease import ease, item_weights
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


def test_the_recall_on_films_is_as_expected() -> None:
    """Measured with a penalty of 400 over three seeds: 0.416 at k = 5 and 0.448 at k = 10."""
    split = clicks()[0].split(0)
    methods = ease(split.train, split.calibration), popularity(split.train, split.calibration)
    metric = movielens(seed=0).metric
    for k, low, high in ((5, 0.38, 0.45), (10, 0.41, 0.48)):
        trials = draw_trials(split.heldout, k, 1)
        found, popular = (score(method(k), trials, metric).mean() for method in methods)
        assert low < found < high
        assert found > popular + 0.03
