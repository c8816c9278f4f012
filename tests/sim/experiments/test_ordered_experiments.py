"""Household purchases and exercises: the data as the packages hold it, and the statistician's model of choices."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from tegu.core.data.spec import Spec
from tegu.core.metrics import METRICS
from tegu.core.sampling.trials import user_scores
from tegu.sim.data.population import Population
from tegu.sim.data.trials import draw_trials
from tegu.sim.experiments.baselines.brand_choice import brand_choice
from tegu.sim.experiments.catsup import catsup_purchases
from tegu.sim.experiments.exercises import exercise_windows


def test_purchases_keep_their_order_and_households() -> None:
    population = catsup_purchases()
    assert (len(population), int(population.counts.sum())) == (300, 2798)
    assert population.spec.outputs == 4
    assert (population.counts.min(), population.counts.max()) == (5, 44)
    assert population.order is not None
    assert all(np.all(np.diff(population.order[a:b]) > 0) for a, b in pairwise(_bounds(population)))


def test_windows_belong_to_ten_people_who_do_seven_exercises() -> None:
    population = exercise_windows()
    assert (len(population), population.spec.outputs, population.spec.x.shape) == (10, 7, (30,))
    x, _ = population.all_rows()
    means, lows, highs = x[:, :6], x[:, 12:18], x[:, 18:24]
    assert np.isfinite(x).all()
    assert np.all(lows <= means + 1e-4)
    assert np.all(means <= highs + 1e-4)


def test_true_takes_rows_as_they_come() -> None:
    x, y, user = np.arange(12.0, dtype=np.float32)[:, None], np.arange(12) % 2, np.arange(12) % 3
    rows = Population.from_arrays(x, y, user, Spec.classification((1,), 2), order=True)
    times = Population.from_arrays(x, y, user, Spec.classification((1,), 2), order=np.arange(12))
    assert rows.order is not None
    assert times.order is not None
    np.testing.assert_array_equal(rows.order, times.order)
    trials = draw_trials(rows, 2, 0).trials
    assert all(trial.support.x.max() < trial.query.x.min() for trial in trials)
    assert Population.from_arrays(x, y, user, Spec.classification((1,), 2), order=False).order is None


def test_choices_follow_a_persons_own_frequencies() -> None:
    """Each person has a favourite among three that the inputs do not tell; the logit alone is right for a third."""
    people = [_loyal(seed) for seed in (0, 1, 2)]
    train, calibration, heldout = people
    trials = draw_trials(heldout, 5, 0)
    found = user_scores(trials, brand_choice(train, calibration)(5)(trials), METRICS["accuracy"]).mean()
    favourites = np.mean([np.mean(t.query.y == np.bincount(t.support.y).argmax()) for t in trials.trials])
    assert found > 0.65
    assert found > favourites - 0.03


def _loyal(seed: int) -> Population:
    rng = np.random.default_rng(seed)
    user, favourite = np.repeat(np.arange(60), 20), np.repeat(rng.integers(0, 3, 60), 20)
    y = np.where(rng.random(1200) < 0.75, favourite, rng.integers(0, 3, 1200))
    x = rng.normal(size=(1200, 2)).astype(np.float32)
    return Population.from_arrays(x, y, user, Spec.classification((2,), 3), order=True)


def _bounds(population: Population) -> list[int]:
    return [0, *np.cumsum(population.counts).tolist()]
