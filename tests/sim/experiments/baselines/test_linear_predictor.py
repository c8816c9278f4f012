"""The linear predictor against numpy's covariances, and its error where the best possible one is known."""

from __future__ import annotations

import numpy as np
import pytest

from tegu.core.data.batch import full_batch
from tegu.core.data.spec import Spec
from tegu.core.metrics import METRICS
from tegu.core.sampling.trials import Trial, Trials
from tegu.sim.data.population import Population
from tegu.sim.data.trials import draw_trials
from tegu.sim.engine.predictions import score
from tegu.sim.experiments.baselines.item_means import item_mean_user_bias, item_means
from tegu.sim.experiments.baselines.linear_predictor import linear_predictor, moments_of, predictor

ITEMS = 12


def people(users: int, share: float = 1.0, seed: int = 0) -> tuple[Population, np.ndarray]:
    """Normal ratings with three common factors and noise of variance 1, and their covariance."""
    rng = np.random.default_rng(seed)
    loadings = rng.normal(0, 1, (ITEMS, 3))
    y = 2 + rng.normal(0, 1, ITEMS) + rng.normal(size=(users, 3)) @ loadings.T + rng.normal(size=(users, ITEMS))
    user, item = np.nonzero(rng.random((users, ITEMS)) < share)
    spec = Spec.regression((), items=ITEMS)
    return Population.from_arrays(item, y[user, item].astype(np.float32), user, spec), loadings @ loadings.T


def test_complete_ratings_have_numpys_moments() -> None:
    population, _ = people(400)
    y = np.stack([population.rows(user)[1][:, 0] for user in range(400)]).astype(np.float64)
    found = moments_of(population)
    around = y - item_means(population)
    np.testing.assert_allclose(found.covariances, around.T @ around / 400, rtol=1e-5)
    np.testing.assert_allclose(found.covariances, np.cov(y.T, bias=True), atol=0.01)
    assert (found.pairs == 400).all()
    assert found.variance == pytest.approx(np.square(around).mean())


def test_pairs_count_the_people_who_rated_both() -> None:
    population, _ = people(60, 0.6)
    rated = np.zeros((60, ITEMS), bool)
    for user in range(60):
        rated[user, population.rows(user)[0]] = True
    pairs = moments_of(population).pairs
    assert pairs[2, 7] == (rated[:, 2] & rated[:, 7]).sum()
    assert pairs[4, 4] == rated[:, 4].sum()


def test_predictions_are_conditional_means_of_a_normal_distribution() -> None:
    rng = np.random.default_rng(0)
    means, root = rng.normal(size=ITEMS), rng.normal(size=(ITEMS, ITEMS))
    covariances, own, wanted = root @ root.T, np.asarray([7, 2, 4]), np.asarray([0, 5])
    y = rng.normal(size=(3, 1)).astype(np.float32)
    trial = Trial(0, full_batch(own, y), full_batch(wanted, np.zeros((2, 1), np.float32)))
    noisy = covariances[np.ix_(own, own)] + 0.7 * np.eye(3)
    expected = means[wanted] + covariances[np.ix_(wanted, own)] @ np.linalg.inv(noisy) @ (y[:, 0] - means[own])
    (found,) = predictor(means, covariances, 0.7)(Trials(Spec.regression((), items=ITEMS), 3, [trial]))
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-6)


@pytest.mark.parametrize("k", [1, 6])
def test_the_error_is_near_the_least_possible_one(k: int) -> None:
    population, covariance = people(2000, 0.9)
    split = population.split(0)
    trials = draw_trials(split.heldout, k, 0)
    means = item_means(split.train)

    def best(trial):
        own, wanted = trial.support.x, trial.query.x
        weights = np.linalg.solve(covariance[np.ix_(own, own)] + np.eye(k), trial.support.y[:, 0] - means[own])
        return (means[wanted] + covariance[np.ix_(wanted, own)] @ weights)[:, None]

    least = score(lambda trials: [best(trial) for trial in trials.trials], trials, METRICS["rmse"]).mean()
    found, level = (
        score(build(split.train, split.calibration)(k), trials, METRICS["rmse"]).mean()
        for build in (linear_predictor, item_mean_user_bias)
    )
    assert found < least * 1.02
    assert found < level * 0.97
