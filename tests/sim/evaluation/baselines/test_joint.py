"""Joint training: as many examples as the run, and as good as the best fit to the rows of all training users."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tegu.core.data.batch import Array
from tegu.core.data.spec import Spec
from tegu.core.metrics import METRICS, Metric
from tegu.core.sampling.episode import EpisodeRule
from tegu.learners.learner import Source
from tegu.server.training.plan import TrainingPlan
from tegu.sim.data.population import Population
from tegu.sim.evaluation.baselines import joint
from tegu.sim.evaluation.baselines.joint import examples_seen, train_jointly

SPEC = Spec.regression((3,), 1)


def linear_users(users: int = 60, rows: int = 20) -> Population:
    """Return users with one linear function for all, and noise."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(users * rows, 3)).astype(np.float32)
    y = x @ np.asarray([[1.0], [-2.0], [0.5]]) + 3 + 0.5 * rng.normal(size=(users * rows, 1))
    return Population.from_arrays(x, y.astype(np.float32), np.repeat(np.arange(users), rows), SPEC)


def least_squares(users: Population) -> Array:
    x, y = users.all_rows()
    return np.linalg.lstsq(np.concatenate([x, np.ones((len(x), 1))], 1), y, rcond=None)[0][:, 0]


def parameters(model: nn.Module) -> dict[str, Array]:
    return {name: value.detach().numpy().copy() for name, value in model.named_parameters()}


@pytest.mark.parametrize("crossed", [False, True])
def test_the_module_learns_the_best_fit_to_all_rows(crossed: bool) -> None:
    split = linear_users().split(0)
    calibration = split.train if crossed else split.calibration
    model = nn.Linear(3, 1)
    found = train_jointly(Source(model), parameters(model), split.train, calibration, 30_000, METRICS["mse"], 0)
    expected = least_squares(split.train)
    np.testing.assert_allclose(np.append(found.meta["weight"], found.meta["bias"]), expected, atol=0.08)
    judging = found.evaluator.population
    fitting = split.train.subset(np.flatnonzero(~np.isin(split.train.users, judging.users)))
    other = least_squares(fitting)
    judged = np.append(found.evaluator.meta["weight"], found.evaluator.meta["bias"])
    np.testing.assert_allclose(judged, other, atol=0.08)
    assert (len(fitting) < len(split.train)) == crossed


def test_fixed_parameters_and_other_entries_stay() -> None:
    split = linear_users().split(0)
    model = nn.Linear(3, 1)
    model.bias.requires_grad_(False)
    start = parameters(model) | {"rate/weight": np.ones(1, np.float32)}
    found = train_jointly(Source(model), start, split.train, split.calibration, 2000, METRICS["mse"], 0)
    np.testing.assert_array_equal(found.meta["bias"], start["bias"])
    np.testing.assert_array_equal(found.meta["rate/weight"], [1])
    assert np.abs(found.meta["weight"] - start["weight"]).max() > 0.1


def test_a_step_size_that_diverges_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joint, "_RATES", (1e4, 0.03, 1e6))
    split = linear_users().split(0)
    model = nn.Linear(3, 1)
    found = train_jointly(Source(model), parameters(model), split.train, split.calibration, 3000, METRICS["mse"], 0)
    assert found.rate == 0.03


def test_a_training_that_diverges_with_all_users_is_repeated_with_a_smaller_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original, split = joint._checkpoints, linear_users().split(0)

    def diverging(source: Source, start: Any, users: Population, rate: float, examples: int, seed: int) -> Any:
        found = original(source, start, users, rate, examples, seed)
        far = users is split.train and rate > 0.02
        return [{name: value * np.nan for name, value in meta.items()} for meta in found] if far else found

    monkeypatch.setattr(joint, "_checkpoints", diverging)
    monkeypatch.setattr(joint, "_RATES", (0.1, 0.03, 0.01))
    monkeypatch.setattr(joint, "tuning_users", lambda train, calibration: (train.subset(np.arange(20)), calibration))
    model = nn.Linear(3, 1)
    found = train_jointly(Source(model), parameters(model), split.train, split.calibration, 3000, METRICS["mse"], 0)
    assert found.rate == 0.01
    assert all(np.isfinite(value).all() for meta in (found.meta, found.evaluator.meta) for value in meta.values())


def test_the_best_of_ten_checks_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The metric prefers outputs around 1.5; from 0, the module passes them on its way to 3."""
    seen: list[float] = []
    original = joint._checkpoints

    def recorded(*given: Any) -> Any:
        found = original(*given)
        seen[:] = [float(meta["bias"][0]) for meta in found]
        return found

    def nearness(outputs: Array, y: Array, support: Array) -> float:
        del y, support
        return -abs(float(np.median(outputs)) - 1.5)

    monkeypatch.setattr(joint, "_checkpoints", recorded)
    monkeypatch.setattr(joint, "_RATES", (0.003,))
    split = linear_users().split(0)
    start = {"weight": np.zeros((1, 3), np.float32), "bias": np.zeros(1, np.float32)}
    metric = Metric("nearness", True, nearness)
    found = train_jointly(Source(nn.Linear(3, 1)), start, split.train, split.calibration, 32_000, metric, 0)
    assert len(seen) == 10
    assert found.meta["bias"][0] == min(seen, key=lambda bias: abs(bias - 1.5)) < seen[-1]


def test_examples_are_the_rows_of_all_episodes() -> None:
    users = linear_users(users=30, rows=20)
    whole = TrainingPlan(rounds=1, episodes=EpisodeRule(1, 40, 40))
    assert examples_seen(users, whole, 100) == 100 * 20
    fixed = TrainingPlan(rounds=1, episodes=EpisodeRule(5, 5, 3))
    assert examples_seen(users, fixed, 100) == 100 * 8


def test_as_many_rows_are_seen_as_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []

    class Counting(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if torch.is_grad_enabled():
                rows.append(len(x))
            return super().forward(x)

    monkeypatch.setattr(joint, "_RATES", (0.1,))
    split = linear_users().split(0)
    model = Counting(3, 1)
    train_jointly(Source(model), parameters(model), split.train, split.calibration, 3200, METRICS["mse"], 0)
    assert sum(rows) == 320 + 3200
    assert set(rows) == {32}
