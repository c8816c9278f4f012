"""Baselines of an order, against counts written out, and within a run of an ordered population."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import nn

from tegu.core.bundle.manifest import Knobs
from tegu.core.data.batch import full_batch
from tegu.core.data.spec import Spec
from tegu.core.metrics import METRICS
from tegu.core.sampling.trials import Trial, Trials
from tegu.server.progress import SILENT
from tegu.server.training.calibration_plan import CalibrationPlan
from tegu.server.training.plan import TrainingPlan
from tegu.sim.data.population import Population
from tegu.sim.data.trials import draw_trials
from tegu.sim.engine.predictions import Method, score
from tegu.sim.evaluation.baselines import order
from tegu.sim.evaluation.baselines.calibrated import calibrated
from tegu.sim.evaluation.baselines.generic import Start
from tegu.sim.evaluation.baselines.order import last_choice, shrunk_frequencies
from tegu.sim.simulation import simulate

X = np.zeros((4, 2), np.float32)
TRIAL = Trial(0, full_batch(X, np.asarray([2, 0, 0, 1])), full_batch(X[:2], np.asarray([1, 1])))
TRIALS = Trials(Spec.classification((2,), 3), 4, [TRIAL])


def test_frequencies_are_shrunk_toward_the_initialisation() -> None:
    before = np.log(np.asarray([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]]))
    (found,) = shrunk_frequencies([before], TRIALS, 2.0)
    expected = [[(2 + 0.4) / 6, (1 + 0.6) / 6, (1 + 1.0) / 6], [(2 + 1.2) / 6, (1 + 0.6) / 6, (1 + 0.2) / 6]]
    np.testing.assert_allclose(np.exp(found), expected)


def test_the_last_choice_is_the_newest_row_of_the_support() -> None:
    (found,) = last_choice(TRIALS)
    assert found.shape == (2, 3)
    assert found.argmax(1).tolist() == [1, 1]


def test_a_run_of_an_ordered_population_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Sequence[Knobs]] = []

    def recorded(start: Start, candidates: Sequence[Knobs]) -> Callable[[int], Method]:
        tried.append(candidates)
        return calibrated(start, candidates)

    monkeypatch.setattr(order, "calibrated", recorded)
    rng = np.random.default_rng(0)
    user, y = np.repeat(np.arange(60), 16), np.repeat(rng.integers(0, 3, 240), 4)  # choices last for four rows
    x = rng.normal(size=(960, 2)).astype(np.float32)
    population = Population.from_arrays(x, y, user, Spec.classification((2,), 3), order=True)
    torch.manual_seed(0)
    plan = TrainingPlan(rounds=2, calibration=CalibrationPlan(ks=(4,), folds=0))
    run = simulate(population, nn.Linear(2, 3), plan=plan, cohort=10, progress=SILENT, engine="torch-vmap")
    baselines = run.evaluate(progress=SILENT).metrics["curve"][0]["baselines"]
    assert {"without_order", "own_frequencies", "last_choice"} <= set(baselines)
    assert {knobs["recency"] for knobs in tried[0]} == {0.0}, "without_order ignores the order"
    assert len(tried[0]) < len(run.bundle.manifest.candidates)
    again = score(last_choice, draw_trials(run.split.heldout, 4, 1), METRICS["accuracy"]).mean()
    assert baselines["last_choice"] == again
    assert again > baselines["own_frequencies"] - 0.05
