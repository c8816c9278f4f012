"""Calibration users' losses under the initialisation, and p-values of typical and of atypical users."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tests.sim import people
from tests.sim.conftest import Tiny

from tegu.core.calibration.conformal import p_value
from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree
from tegu.core.metrics import METRICS
from tegu.sim.calibration.calibrate import calibrate
from tegu.sim.calibration.conformal_losses import support_losses
from tegu.sim.data.population import Population
from tegu.sim.data.trials import draw_trials
from tegu.sim.training.cross_fitting import Evaluator

K = 5


def rows_of(population: Population) -> tuple[Array, Array]:
    x, y = zip(*(population.rows(user) for user in range(len(population))), strict=True)
    return np.concatenate(x), np.concatenate(y)


def cross_fit_population(population: Population) -> Tree:
    """One classifier for all users, trained in plain torch."""
    torch.manual_seed(0)
    model, (x, y) = people.classifier(), rows_of(population)
    optimiser = torch.optim.Adam(model.parameters(), 0.05)
    for _ in range(200):
        optimiser.zero_grad()
        people.torch_loss(model, x, y).backward()
        optimiser.step()
    return people.parameters(model)


def losses_of(meta: Tree, population: Population, k: int) -> dict[int, float]:
    """Each user's loss on its first draw."""
    model, found = people.with_parameters(meta), dict[int, float]()
    with torch.no_grad():
        for trial in draw_trials(population, k, 0).trials:
            found.setdefault(trial.user, float(people.torch_loss(model, trial.support.x, trial.support.y)))
    return found


def test_one_loss_of_each_user_is_in_the_schedule(tiny: Tiny) -> None:
    population = people.people(30)
    meta = cross_fit_population(population)
    engine = tiny.engines["onnx"]
    entries = calibrate(engine, [Evaluator(meta, population)], [1, K], METRICS["accuracy"], 0)
    for entry in entries:
        expected = losses_of(meta, population, entry.k)
        assert len(entry.losses) == len(expected) == (population.max_support >= entry.k).sum()
        np.testing.assert_allclose(entry.losses, sorted(expected.values()), rtol=1e-4)


def test_many_losses_are_reduced_to_quantiles(tiny: Tiny) -> None:
    population = people.people(150, least=8)
    meta = tiny.learner.init(0)
    found = support_losses(tiny.engines["onnx"], [(meta, draw_trials(population, K, 0))])
    assert len(found) == 99
    everyone = losses_of(meta, population, K).values()
    assert found[-1] == pytest.approx(max(everyone), rel=1e-4)


def test_users_of_the_same_kind_are_typical_and_others_are_not(tiny: Tiny) -> None:
    """P(p <= level) is at most the level, up to the spread of 400 users and of 100 calibration users."""
    everyone = people.people(700, seed=3, least=12, most=24)
    train, calibration, rest = (everyone.subset(range(*part)) for part in ((0, 200), (200, 300), (300, 700)))
    meta = cross_fit_population(train)
    kept = support_losses(tiny.engines["onnx"], [(meta, draw_trials(calibration, 10, 0))])
    ps = np.asarray([p_value(kept, own) for own in losses_of(meta, rest, 10).values()])
    assert len(ps) == 400
    for level in (0.05, 0.1, 0.2, 0.5):
        # The share of users beyond a quantile of 100 losses has the spread of a beta distribution.
        spread = math.sqrt(level * (1 - level) * (1 / 400 + 1 / 102))
        assert abs((ps <= level).mean() - level) < 4 * spread + 0.01
    assert ps.mean() == pytest.approx(0.5, abs=4 * math.sqrt((1 / 400 + 1 / 100) / 12))
    (x, y), user = rows_of(rest), np.repeat(np.arange(400), rest.counts)
    wrong = Population.from_arrays(x, np.random.default_rng(0).permutation(y), user, people.SPEC)
    others = np.asarray([p_value(kept, own) for own in losses_of(meta, wrong, 10).values()])
    assert (others <= 0.1).mean() > 0.5
    assert np.median(others) < 0.1
