"""Heads and neighbours on a module's features, compared with plain torch and plain loops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor, nn

from tegu.core.data.batch import Array
from tegu.core.data.spec import Kind, Spec
from tegu.core.sampling.trials import Trials
from tegu.sim.data.population import Population
from tegu.sim.data.trials import draw_trials
from tegu.sim.evaluation.baselines.heads import HEADS, Head, head_outputs
from tegu.sim.evaluation.baselines.module_features import prepare, row_features
from tegu.sim.evaluation.baselines.neighbours import NEIGHBOURS, Neighbours, neighbour_outputs

KINDS: tuple[Kind, ...] = ("classification", "multilabel", "regression")
OUTPUTS = 3


def trials_of(kind: Kind, k: int = 4) -> Trials:
    rng = np.random.default_rng(3)
    x, user = rng.normal(size=(60, 2)).astype(np.float32), np.repeat(np.arange(6), 10)
    y: Any = rng.normal(size=(60, OUTPUTS)).astype(np.float32) + 2
    if kind == "classification":
        y = rng.integers(0, OUTPUTS, 60)
    if kind == "multilabel":
        y = (y > 2).astype(np.float32)
    spec = {
        "classification": Spec.classification((2,), OUTPUTS),
        "multilabel": Spec.multilabel((2,), OUTPUTS),
        "regression": Spec.regression((2,), OUTPUTS),
    }[kind]
    return draw_trials(Population.from_arrays(x, y, user, spec), k, 0, 2)


@pytest.fixture(scope="module")
def module() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, OUTPUTS)).requires_grad_(False)


def features(module: nn.Sequential, x: Array) -> Tensor:
    """The input of the last layer, float64."""
    return module[:2](torch.tensor(x)).double()


def head(module: nn.Sequential, found: Head, kind: Kind, trials: Trials) -> Sequence[Array]:
    """Each head by a general optimiser on its weights and intercept."""
    outputs = []
    for trial in trials.trials:
        own = features(module, trial.support.x)
        scale = own.square().sum(1).mean().sqrt()
        inputs = torch.cat([own / scale, torch.ones(len(own), 1)], 1)
        start = found.share * module(torch.tensor(trial.support.x)).double()
        y = torch.tensor(trial.support.y)
        weights = torch.zeros(6, OUTPUTS, dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.LBFGS([weights], max_iter=500, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

        def loss(inputs: Tensor = inputs, start: Tensor = start, y: Tensor = y, weights: Tensor = weights) -> Tensor:
            logits = start + inputs @ weights
            if kind == "classification":
                fit = F.cross_entropy(logits, y, reduction="sum")
            elif kind == "multilabel":
                fit = F.binary_cross_entropy_with_logits(logits, y.double(), reduction="sum")
            else:
                fit = (logits - y).square().sum() / 2
            total: Tensor = fit + found.penalty / 2 * weights.square().sum()
            return total

        def closure(optimiser: Any = optimiser, loss: Any = loss) -> float:
            optimiser.zero_grad()
            value = loss()
            value.backward()
            return float(value.detach())

        optimiser.step(closure)
        query = features(module, trial.query.x)
        given = torch.cat([query / scale, torch.ones(len(query), 1)], 1)
        fitted = found.share * module(torch.tensor(trial.query.x)).double() + given @ weights.detach()
        outputs.append(fitted.numpy())
    return outputs


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("setting", [Head(1.0, 0.03), Head(0.0, 0.3), Head(1.0, 10.0)])
def test_a_head_minimises_the_penalised_loss_of_the_support(module: nn.Sequential, kind: Kind, setting: Head) -> None:
    trials = trials_of(kind)
    meta = {name: value.numpy() for name, value in module.named_parameters()}
    found = head_outputs(prepare(trials, row_features(module, meta)), setting, kind)
    for ours, expected in zip(found, head(module, setting, kind, trials), strict=True):
        np.testing.assert_allclose(ours, expected, atol=2e-3)


def neighbours(module: nn.Sequential, setting: Neighbours, kind: Kind, trials: Trials) -> Sequence[Array]:
    """Every query row by itself: probabilities, or values of a regression."""
    outputs = []
    for trial in trials.trials:
        own, start = features(module, trial.support.x), module(torch.tensor(trial.support.x)).double().numpy()
        scale = float(own.square().sum(1).mean())
        rows = []
        for x in trial.query.x:
            apart = (own - features(module, x[None])).square().sum(1).numpy() / scale
            weights = {i: np.exp(-apart[i] / setting.temperature) for i in np.argsort(apart)[: setting.number]}
            base = module(torch.tensor(x[None])).double()
            if kind == "regression":
                votes = sum(w * (trial.support.y[i] - start[i]) for i, w in weights.items()) / sum(weights.values())
                rows.append(base.numpy()[0] + setting.blend * votes)
                continue
            one_hot = np.eye(OUTPUTS)[trial.support.y] if kind == "classification" else trial.support.y
            votes = sum(w * one_hot[i] for i, w in weights.items()) / sum(weights.values())
            p = (torch.softmax(base, 1) if kind == "classification" else torch.sigmoid(base)).numpy()[0]
            rows.append(setting.blend * votes + (1 - setting.blend) * p)
        outputs.append(np.asarray(rows))
    return outputs


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("setting", [Neighbours(1, 1.0, 0.5), Neighbours(2, 0.1, 0.25), Neighbours(99, 0.3, 0.5)])
def test_the_nearest_rows_vote(module: nn.Sequential, kind: Kind, setting: Neighbours) -> None:
    trials = trials_of(kind)
    meta = {name: value.numpy() for name, value in module.named_parameters()}
    found = neighbour_outputs(prepare(trials, row_features(module, meta)), setting, kind)
    for ours, expected in zip(found, neighbours(module, setting, kind, trials), strict=True):
        values = torch.tensor(ours)
        if kind == "classification":
            values = torch.softmax(values, 1)
        if kind == "multilabel":
            values = torch.sigmoid(values)
        np.testing.assert_allclose(values.numpy(), expected, atol=1e-5)


def test_settings_differ() -> None:
    assert len(set(HEADS)) == len(HEADS)
    assert len(set(NEIGHBOURS)) == len(NEIGHBOURS)


def test_equal_rows_are_computed_once(module: nn.Sequential) -> None:
    rows: list[int] = []

    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = module

        def forward(self, x: Tensor) -> Tensor:
            rows.append(len(x))
            output: Tensor = self.model(x)
            return output

    counted = Counting()
    of = row_features(counted, {name: value.numpy() for name, value in counted.named_parameters()})
    x = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    outputs, found = of(x[[0, 1, 2]])
    of(x[[2, 1, 0]])
    both, _ = of(x[[3, 0]])
    assert rows == [3, 1]
    np.testing.assert_allclose(outputs, module(torch.tensor(x[:3])).numpy(), atol=1e-6)
    np.testing.assert_allclose(found, features(module, x[:3]).numpy(), atol=1e-6)
    np.testing.assert_array_equal(both[1], outputs[0])
