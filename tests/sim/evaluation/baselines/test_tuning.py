"""Settings are chosen for each k by the mean metric of users that are not held out, and then fitted to all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tegu.core.data.batch import Array
from tegu.core.data.spec import Spec
from tegu.core.metrics import METRICS
from tegu.core.sampling.trials import Trials
from tegu.sim.data.population import Population
from tegu.sim.data.trials import draw_trials
from tegu.sim.engine.predictions import Method
from tegu.sim.evaluation.baselines.tuning import tune_per_k, tuning_users

STRENGTHS = (100.0, 1e9, 4.0, 0.1)  # 4 is best: the noise's variance is four times that of the levels


def levels(users: int, rows: int, seed: int = 0) -> Population:
    """Users have a level each; noise has four times the levels' variance."""
    rng = np.random.default_rng(seed)
    y = 3 + 2 * np.repeat(rng.normal(size=users), rows) + 4 * rng.normal(size=users * rows)
    x = np.arange(users * rows, dtype=np.float32)[:, None]  # rows with equal inputs would stay together
    return Population.from_arrays(
        x, y[:, None].astype(np.float32), np.repeat(np.arange(users), rows), Spec.regression((1,))
    )


def shrunken_level(users: Population, strength: float) -> Method:
    mean = users.all_rows()[1].mean()

    def predict(trials: Trials) -> Sequence[Array]:
        return [
            np.full_like(trial.query.y, mean + (trial.support.y - mean).sum() / (trials.k + strength))
            for trial in trials.trials
        ]

    return predict


def by_hand(population: Population, mean: float, strength: float, k: int) -> float:
    """Mean over users of the squared error, from the rows alone; the rows are exchangeable."""
    errors = []
    for index in range(len(population)):
        y = population.rows(index)[1][:, 0].astype(float)
        for start in range(0, len(y) - k, k):
            own = y[start : start + k]
            rest = np.concatenate([y[:start], y[start + k :]])
            errors.append(np.square(rest - mean - (own - mean).sum() / (k + strength)).mean())
    return float(np.mean(errors))


@pytest.mark.parametrize("k", [1, 5])
def test_the_best_setting_is_chosen_and_fitted_to_all_training_users(k: int) -> None:
    split = levels(300, 20).split(0)
    found = tune_per_k(split.train, split.calibration, STRENGTHS, shrunken_level, METRICS["mse"])
    mean = float(split.train.all_rows()[1].mean())
    assert min(STRENGTHS, key=lambda strength: by_hand(split.calibration, mean, strength, k)) == 4.0
    trials = draw_trials(split.heldout, k, 1)
    for ours, expected in zip(found(k)(trials), shrunken_level(split.train, 4.0)(trials), strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_users_that_train_and_calibrate_are_divided() -> None:
    train = levels(100, 6)
    fitting, judging = tuning_users(train, train)
    assert not set(fitting.users) & set(judging.users)
    assert set(fitting.users) | set(judging.users) == set(train.users)
    assert 10 <= len(judging) <= 30
    seen: list[int] = []

    def fit(users: Population, strength: float) -> Method:
        seen.append(len(users))
        return shrunken_level(users, strength)

    found = tune_per_k(train, train, STRENGTHS, fit, METRICS["mse"])
    found(1), found(1), found(5)
    assert sorted(seen)[: len(STRENGTHS)] == [len(fitting)] * len(STRENGTHS), "each setting is fitted once"
    assert set(seen[len(STRENGTHS) :]) == {len(train)}


def test_separate_users_stay_as_they_are() -> None:
    split = levels(100, 6).split(0)
    assert tuning_users(split.train, split.calibration) == (split.train, split.calibration)


def test_a_k_that_nobody_can_tune_takes_the_setting_below() -> None:
    train, few = levels(100, 20), levels(40, 6, seed=5)
    few = few.subset(np.arange(40))
    few = Population.from_arrays(*few.all_rows(), np.repeat(np.arange(200, 240), 6), few.spec)
    found = tune_per_k(train, few, STRENGTHS, shrunken_level, METRICS["mse"])
    trials = draw_trials(train, 10, 1)
    largest = tune_per_k(train, few, STRENGTHS, shrunken_level, METRICS["mse"])(5)
    for ours, expected in zip(found(10)(trials), largest(trials), strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_a_setting_whose_metric_is_not_a_number_is_never_chosen() -> None:
    split = levels(60, 20).split(0)

    def fit(users: Population, strength: float) -> Method:
        method = shrunken_level(users, abs(strength))
        return lambda trials: [output * (np.nan if strength < 0 else 1) for output in method(trials)]

    found = tune_per_k(split.train, split.calibration, (-4.0, 100.0), fit, METRICS["mse"])
    assert np.isfinite(found(3)(draw_trials(split.heldout, 3, 1))[0]).all()
