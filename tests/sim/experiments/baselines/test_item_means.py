"""Shrunken means, compared with a plain computation; the baselines predict every row with them."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest

from tegu.core.data.spec import Spec
from tegu.core.metrics import METRICS
from tegu.sim.data.population import Population
from tegu.sim.data.trials import draw_trials
from tegu.sim.engine.predictions import score
from tegu.sim.experiments.baselines.item_means import item_mean, item_mean_user_bias, item_means, shrinkage

ITEMS = 40


def rated(seed: int, users: int = 60, noise: float = 0.8) -> tuple[Population, pd.DataFrame]:
    """Ratings with an effect for each item and each user; some items are rated rarely, the last never."""
    rng = np.random.default_rng(seed)
    often = np.linspace(1, 0.02, ITEMS - 1)
    user, item = np.nonzero(rng.random((users, ITEMS - 1)) < often)
    effect, bias = rng.normal(0, 0.5, ITEMS), rng.normal(0, 0.7, users)
    y = 3 + effect[item] + bias[user] + rng.normal(0, noise, len(item))
    frame = pd.DataFrame({"user": user, "item": item, "y": y.astype(np.float32)})
    return Population.from_arrays(item, frame["y"].to_numpy(), user, Spec.regression((), items=ITEMS)), frame


def test_the_strength_is_noise_over_spread() -> None:
    """The ratio is known: groups differ with variance 0.25, values in a group with variance 1, so 4."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(3000), rng.integers(2, 12, 3000))
    values = rng.normal(0, 0.5, 3000)[groups] + rng.normal(0, 1, len(groups)) + 7
    assert shrinkage(values, groups) == pytest.approx(4, rel=0.1)
    assert shrinkage(values, groups * 3) == pytest.approx(shrinkage(values, groups)), (
        "ids without a rating have no influence"
    )


def test_groups_that_do_not_differ_are_shrunk_to_nothing() -> None:
    groups = np.repeat(np.arange(50), 4)
    assert shrinkage(np.tile([1.0, 2.0, 3.0, 4.0], 50), groups) >= 1e6


def test_item_means_are_those_of_pandas_drawn_to_the_overall_mean() -> None:
    population, frame = rated(0)
    level = frame["y"].astype(float).mean()
    grouped = frame.groupby("item")["y"]
    counts = grouped.size().reindex(range(ITEMS), fill_value=0).to_numpy()
    plain = grouped.mean().reindex(range(ITEMS), fill_value=level).to_numpy()
    means = item_means(population)
    share = counts / (counts + shrinkage(frame["y"].to_numpy(), frame["item"].to_numpy()))
    np.testing.assert_allclose(means, share * plain + (1 - share) * level, atol=1e-5)
    assert means[-1] == pytest.approx(level), "an item without ratings gets the overall mean"


def errors_by_hand(population: Population, calibration: Population, item: float, user: float) -> tuple[float, float]:
    """RMSE of calibration users at k = 5 with these factors on both strengths, without and with the user's bias."""
    means = item_means(population, item)
    items, ratings = population.all_rows()
    people = np.repeat(np.arange(len(population)), population.counts)
    strength = user * shrinkage(ratings[:, 0] - means[items], people)
    found = dict[int, list[list[float]]]()
    for trial in draw_trials(calibration, 5, 0).trials:
        above = [float(y) - means[item] for item, y in zip(trial.support.x, trial.support.y[:, 0], strict=True)]
        errors = trial.query.y[:, 0] - means[trial.query.x]
        pair = [np.sqrt(np.square(errors - shift).mean()) for shift in (0.0, sum(above) / (5 + strength))]
        found.setdefault(trial.user, []).append(pair)
    plain, biased = np.mean([np.mean(each, 0) for each in found.values()], 0)
    return float(plain), float(biased)


def test_the_shrinkage_is_that_with_the_least_error_of_calibration_users() -> None:
    population, _ = rated(1)
    split = population.split(0)
    factors = (1.0, 0.3, 3.0)
    errors = {pair: errors_by_hand(split.train, split.calibration, *pair) for pair in product(factors, factors)}
    trials = draw_trials(split.calibration, 5, 0)
    plain, biased = (
        score(build(split.train, split.calibration)(5), trials, METRICS["rmse"]).mean()
        for build in (item_mean, item_mean_user_bias)
    )
    assert plain == pytest.approx(min(each[0] for each in errors.values()), rel=1e-6)
    assert biased == pytest.approx(min(each[1] for each in errors.values()), rel=1e-6)
    assert biased < max(each[1] for each in errors.values())


def test_methods_give_a_value_a_row() -> None:
    population, _ = rated(1)
    split = population.split(0)
    trials = draw_trials(split.heldout, 5, 0)
    plain, biased = (build(split.train, split.calibration)(5)(trials) for build in (item_mean, item_mean_user_bias))
    for trial, mean, own in zip(trials.trials, plain, biased, strict=True):
        assert mean.shape == own.shape == trial.query.y.shape


def test_the_user_bias_reduces_the_error() -> None:
    population, _ = rated(2, users=200)
    split = population.split(0)
    trials = draw_trials(split.heldout, 10, 0)
    rmse = [
        score(build(split.train, split.calibration)(10), trials, METRICS["rmse"]).mean()
        for build in (item_mean, item_mean_user_bias)
    ]
    assert rmse[0] == pytest.approx(np.hypot(0.7, 0.8), rel=0.15)  # the bias and the noise are left
    assert rmse[1] == pytest.approx(0.8 * np.sqrt(1 + 1 / 10), rel=0.1)
