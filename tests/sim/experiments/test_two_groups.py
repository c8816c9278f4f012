"""Users with opposite preferences, and one group alone: the benefit of several initialisations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from torch import nn

from tegu.client import Personalizer
from tegu.core.sampling.episode import EpisodeRule
from tegu.learners import reptile
from tegu.server.training.calibration_plan import CalibrationPlan
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import TrainingPlan
from tegu.sim import simulate
from tegu.sim.evaluation.heldout import evaluate_heldout
from tegu.sim.experiments.catalogue import Build
from tegu.sim.experiments.two_groups import ROWS, USERS, one_group, signed_sines, two_groups
from tegu.sim.run import Run


def sizes(signs: tuple[int, ...]) -> np.ndarray:
    population = signed_sines(300, 200, 1, signs)
    each = [population.rows(user) for user in range(300)]
    wave = [np.sin(x[:, 0], dtype=np.float64) for x, _ in each]
    return np.asarray([wave @ y[:, 0] / (wave @ wave) for wave, (_, y) in zip(wave, each, strict=True)])


def test_signs_differ_between_two_groups_and_not_in_one() -> None:
    found = sizes((-1, 1))
    assert 120 < (found > 0).sum() < 180  # 300 tosses: 3.5 standard deviations
    assert abs(np.abs(found) - 2).max() < 0.4 + 0.15
    assert sizes((1,)).min() > 1.6 - 0.15


@pytest.mark.parametrize(("build", "name"), [(two_groups, "two_groups"), (one_group, "one_group")])
def test_the_settings_of_the_experiments(build: Build, name: str) -> None:
    experiment = build(seed=2, rounds=9, cohort=3)
    assert (experiment.name, experiment.metric.name, experiment.ks) == (name, "mse", (1, 2, 5, 10))
    assert (experiment.plan.rounds, experiment.plan.cohort.size, experiment.plan.seed) == (9, 3, 2)
    assert (len(experiment.population), set(experiment.population.counts)) == (USERS, {ROWS})
    assert experiment.initialisations == 1


@pytest.mark.slow
def test_two_initialisations_serve_two_groups_and_do_not_harm_one() -> None:
    """A smaller case than the experiments: fewer users, rounds and candidates, and gradient steps."""
    errors = {}
    for name, signs in (("two_groups", (-1, 1)), ("one_group", (1,))):
        for number in (1, 2):
            population = signed_sines(200, 30, 0, signs)
            model = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1))
            learner = reptile(model, population.spec, steps=5, lr=0.05, init="fresh")
            options = learner.calibration
            run = simulate(
                population,
                replace(learner, calibration=replace(options, candidates=options.candidates[1:4:2])),
                rounds=200,
                cohort=20,
                initialisations=number,
                plan=TrainingPlan(
                    outer=OuterRule("Adam", 0.02, decay=True),
                    episodes=EpisodeRule(1, 15, 15),
                    calibration=CalibrationPlan(ks=(2,), folds=0),
                ),
            )
            errors[name, number] = evaluate_heldout(run, {}).curve[0]["personalised"]
            if (name, number) == ("two_groups", 2):
                _check_device(run)
    assert errors["two_groups", 2] < 0.5 * errors["two_groups", 1]
    assert errors["one_group", 2] < 1.05 * errors["one_group", 1]


def _check_device(run: Run) -> None:
    """With one bundle, a device of either group chooses the initialisation of its group."""
    assert run.bundle.manifest.training["initialisations"] == 2
    x = np.linspace(-4, 4, 40, dtype=np.float32)[:, None]
    for sign in (-1, 1):
        with Personalizer.open(run.bundle) as person:
            before = np.square(person.predict(x) - sign * 2 * np.sin(x)).mean()
            person.observe(x[::10], sign * 2 * np.sin(x[::10]))
            assert person.adapt().kept
            after = np.square(person.predict(x) - sign * 2 * np.sin(x)).mean()
        assert after < 0.3 * before
