"""Several labels for each row, and one logit for two classes: users with thresholds of their own are learned."""

from __future__ import annotations

import numpy as np
import pytest
from torch import nn

from tegu.client import Personalizer
from tegu.core.data.batch import Array
from tegu.core.data.spec import Spec
from tegu.learners import Learner, reptile
from tegu.server.training.calibration_plan import CalibrationPlan
from tegu.server.training.plan import TrainingPlan
from tegu.sim import Population, simulate

USERS, ROWS, LABELS = 50, 24, 3
RNG = np.random.default_rng(0)
USER = np.repeat(np.arange(USERS), ROWS)
X = RNG.normal(size=(USERS * ROWS, 4)).astype(np.float32)
Y = (X @ RNG.normal(size=(4, LABELS)) + 2 * RNG.normal(size=(USERS, LABELS))[USER] > 0).astype(int)
PLAN = TrainingPlan(calibration=CalibrationPlan(ks=(10,)))


def network(outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, outputs))


def share_right(population: Population, learner: Learner | nn.Module, y: Array) -> tuple[float, float]:
    """The share of right labels of the first users, before and after adapting to 18 of 24 rows on a device."""
    bundle = simulate(population, learner, rounds=25, cohort=16, plan=PLAN, engine="torch-vmap").bundle
    before, after = [], []
    for user in range(12):
        own = slice(user * ROWS, user * ROWS + 18), slice(user * ROWS + 18, (user + 1) * ROWS)
        with Personalizer.open(bundle) as person:
            for found in (before, after):
                logits = person.predict(X[own[1]])
                said = logits > 0 if y.ndim > 1 else logits.argmax(1) == 1
                found.append((said == (y[own[1]] > 0)).mean())
                person.observe(X[own[0]], y[own[0]]) if found is before else None
                person.adapt()
    return float(np.mean(before)), float(np.mean(after))


@pytest.mark.parametrize("adapted_by", ["correction", pytest.param("steps", marks=pytest.mark.slow)])
def test_several_labels(adapted_by: str) -> None:
    population = Population.from_arrays(X, Y, USER, Spec.multilabel((4,), LABELS))
    model = network(LABELS)
    before, after = share_right(
        population, model if adapted_by == "correction" else reptile(model, population.spec, lr=0.5), Y
    )
    assert after > before + 0.05


def test_one_logit_for_two_classes() -> None:
    y = Y[:, 0].astype(float)
    population = Population.from_arrays(X, y, USER)
    assert population.spec == Spec.classification((4,), 2)
    before, after = share_right(population, network(1), y)
    assert after > before + 0.05
