"""Rows with weights below 1: gradient learners use the weighted mean, corrections the weighted regression."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from tests.learners.algorithms.test_residual_correction import CASES, CORRECT, REGRESSION, regression_rows
from tests.learners.reference_regression import newton
from tests.learners.toys import ITEMS, NO_NOISE, SPEC, Factors, assert_trees_close, meta_of, mlp, rows

from tegu.core.data.batch import Batch
from tegu.core.data.spec import Spec
from tegu.learners import reptile
from tegu.learners.algorithms.residual_correction import residual_correction

WEIGHTS = torch.tensor([0.1, 0.9, 0.25, 0.5, 0.7, 1.0])


def in_numpy(model, meta, support, weights, knobs, x):
    """Base output, correction and leave-one-out improvement, refitted without each row, in float64.

    Rows with weights are those of a kernel that is multiplied by the roots of the weights.
    """
    module = copy.deepcopy(model)
    module.load_state_dict(meta)
    kind = "classification" if support.y.dim() == 1 else "regression"

    def outputs(inputs):
        with torch.no_grad():
            hidden, output = module[:-1](inputs).double().numpy(), module(inputs).double().numpy()
        return output, hidden / np.linalg.norm(hidden, axis=1, keepdims=True)

    def kernel(a, b):
        cosine = a @ b.T
        return knobs["mix"] * cosine + (1 - knobs["mix"]) * np.exp(-(1 - cosine) / 0.25)

    def regressed(kept, at):
        """The minimum of sum w loss(start + f) + ridge / 2 |f|^2."""
        own = newton(kernel(features[kept], features[kept]), before[kept], y[kept], knobs["ridge"], kind, weights[kept])
        return kernel(at, features[kept]) @ own

    def error(output, row):
        answer = torch.from_numpy(output)
        answer = answer.softmax(-1) if kind == "classification" else answer
        return float(np.square(answer.numpy() - y[row]).sum())

    before, features = outputs(support.x)
    y, weights = support.y.numpy(), weights.double().numpy()
    y = np.eye(before.shape[1])[y] if y.ndim == 1 else y.astype(np.float64)
    every = np.arange(len(y))
    reductions = [
        error(before[i], i) - error(before[i] + regressed(every[every != i], features[[i]])[0], i) for i in every
    ]
    base, own = outputs(x)
    return base, regressed(every, own), float(np.average(reductions, weights=weights))


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("padding", [0, 3])
def test_a_correction_is_weighted_regression(kind, padding):
    model, spec, draw = CASES[kind]
    learner = residual_correction(model, spec, init="fresh")
    meta, real, x = meta_of(learner), draw(6, 1), rows(5, 9).x
    support = draw(6, 1, padding)._replace(mask=torch.cat([WEIGHTS, torch.zeros(padding)]))
    state = learner.adapt(meta, support, {**learner.knobs, **CORRECT}, NO_NOISE)
    rows_alone = support._replace(x=support.x[:6], y=support.y[:6])
    base, correction, improvement = in_numpy(model, meta, rows_alone, WEIGHTS, CORRECT, x)
    expected = torch.from_numpy(base + 0.8 * correction)
    expected = expected.log_softmax(-1) if kind == "classification" else expected
    labels = kind == "classification"  # whose solver ends before convergence, and whose left-out rows are approximate
    np.testing.assert_allclose(learner.predict(meta, state, x), expected, atol=0.02 if labels else 2e-4)
    assert float(state["loo_improvement"]) == pytest.approx(improvement, abs=0.03 if labels else 1e-4)
    plain = learner.adapt(meta, real, {**learner.knobs, **CORRECT}, NO_NOISE)
    assert abs(float(plain["loo_improvement"]) - improvement) > 0.01, "the weights matter here"


def test_two_rows_of_half_weight_are_one_row():
    """A repeated row with half the weight has the effect of one row, for both kinds of learner."""
    twice = torch.tensor([0, 1, 2, 2, 3])
    once, halves = regression_rows(4), torch.tensor([1.0, 1.0, 0.5, 0.5, 1.0])
    double = Batch(once.x[twice], once.y[twice], halves)
    for learner in (
        residual_correction(mlp(2), REGRESSION, init="fresh"),
        reptile(mlp(2), REGRESSION, steps=3, lr=0.2, prior=2.0, init="fresh"),
    ):
        meta, x = meta_of(learner), rows(5, 9).x
        answers = [
            learner.predict(meta, learner.adapt(meta, batch, learner.knobs, NO_NOISE), x) for batch in (once, double)
        ]
        torch.testing.assert_close(*answers, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("adapted_parameters", [None, ["2"]])
def test_gradient_steps_are_of_the_weighted_mean(adapted_parameters):
    model, support = mlp(), rows(6, 1)._replace(mask=WEIGHTS)
    learner = reptile(
        model, SPEC, adapted_parameters=adapted_parameters, steps=4, lr=0.6, prior=2.0, momentum=0.5, init="fresh"
    )
    meta = meta_of(learner)
    module = copy.deepcopy(model)
    module.load_state_dict(meta)
    moving = {name: p for name, p in module.named_parameters() if adapted_parameters is None or name.startswith("2")}
    total = float(WEIGHTS.sum())
    steps = torch.optim.SGD(moving.values(), lr=0.6 * total / (total + 2.0), momentum=0.5)
    for _ in range(4):
        steps.zero_grad()
        losses = F.cross_entropy(module(support.x), support.y, reduction="none")
        (losses @ WEIGHTS / total).backward()
        steps.step()
    found = learner.adapt(meta, support, learner.knobs, NO_NOISE)
    assert_trees_close(found, {name: p.detach() for name, p in moving.items()})


def test_a_ranking_takes_the_weighted_mean_of_clicks():
    learner = reptile(Factors(), Spec.ranking(ITEMS), adapted_parameters=["user"], steps=3, lr=0.5, init="fresh")
    meta, clicks = meta_of(learner), torch.tensor([3, 5, 8, 1, 3, 0])
    support = Batch(clicks, torch.ones(6), WEIGHTS)
    user = meta["user"].clone()
    for _ in range(3):
        probabilities = torch.softmax(meta["items.weight"] @ user, -1)
        frequencies = torch.zeros(ITEMS).index_add(0, clicks, WEIGHTS / WEIGHTS.sum())
        total = WEIGHTS.sum()
        rate = 0.5 * total / (total + learner.knobs["prior"])
        user = user - rate * (probabilities - frequencies) @ meta["items.weight"]
    torch.testing.assert_close(learner.adapt(meta, support, learner.knobs, NO_NOISE)["user"], user)
