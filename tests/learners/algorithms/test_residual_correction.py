"""Residual correction against Newton's method in float64, and shrinkage by the guard."""

from __future__ import annotations

import copy
import math
from statistics import NormalDist

import numpy as np
import pytest
import torch
from tests.learners.reference_regression import newton
from tests.learners.toys import NO_NOISE, SPEC, assert_trees_close, meta_of, mlp, rows
from torch import Tensor, nn

from tegu.core.data.batch import Batch
from tegu.core.data.spec import Spec
from tegu.core.errors import DataError
from tegu.learners import reptile
from tegu.learners.algorithms.residual_correction import residual_correction
from tegu.learners.modules.features import forward_with_features

REGRESSION = Spec.regression((4,), 2)
CORRECT = {"mix": 0.4, "ridge": 0.3, "weight": 0.8, "guard": 0.0}


def regression_rows(count: int, seed: int = 0, padding: int = 0) -> Batch[Tensor]:
    batch = rows(count, seed, padding)
    y = torch.randn(count + padding, 2, generator=torch.Generator().manual_seed(seed))
    return Batch(batch.x, y, batch.mask)


def in_numpy(model, meta, support, knobs, x):
    """Output of the initialisation, and the correction, in float64."""
    module = copy.deepcopy(model)
    module.load_state_dict(meta)

    def outputs(inputs):
        with torch.no_grad():
            hidden = module[:-1](inputs).double().numpy()
            return module(inputs).double().numpy(), hidden / np.linalg.norm(hidden, axis=1, keepdims=True)

    def kernel(a, b):
        cosine = a @ b.T
        return knobs["mix"] * cosine + (1 - knobs["mix"]) * np.exp(-(1 - cosine) / 0.25)

    real = int(support.mask.sum())
    before, features = outputs(support.x[:real])
    y, kind = support.y[:real].numpy(), "classification" if support.y.dim() == 1 else "regression"
    targets = np.eye(before.shape[1])[y] if y.ndim == 1 else y.astype(np.float64)
    weights = newton(kernel(features, features), before, targets, knobs["ridge"], kind)
    base, own = outputs(x)
    return base, kernel(own, features) @ weights


CASES = {"classification": (mlp(), SPEC, rows), "regression": (mlp(2), REGRESSION, regression_rows)}


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize(("count", "padding"), [(1, 0), (6, 0), (6, 3)])
def test_the_correction_is_kernel_regression_around_the_initialisation(kind, count, padding):
    model, spec, draw = CASES[kind]
    learner = residual_correction(model, spec, init="fresh")
    meta, support, x = meta_of(learner), draw(count, 1, padding), rows(5, 9).x
    state = learner.adapt(meta, support, {**learner.knobs, **CORRECT}, NO_NOISE)
    base, correction = in_numpy(model, meta, support, CORRECT, x)
    expected = torch.from_numpy(base + 0.8 * correction)
    expected = expected.log_softmax(-1) if kind == "classification" else expected
    within = 0.02 if kind == "classification" else 2e-4  # the solver's iterations for labels end before convergence
    np.testing.assert_allclose(learner.predict(meta, state, x), expected, atol=within)
    assert np.abs(correction).max() > 5 * within
    assert float(state["shrinkage"]) == 1.0


@pytest.mark.parametrize("kind", CASES)
def test_the_improvement_is_that_of_leaving_rows_out(kind):
    model, spec, draw = CASES[kind]
    learner = residual_correction(model, spec, init="fresh")
    meta, support = meta_of(learner), draw(7, 1)
    knobs = {**CORRECT, "ridge": 1.0}
    gains = []
    for out in range(7):
        rest = torch.arange(7) != out
        kept = Batch(*(each[rest] for each in support))
        base, correction = in_numpy(model, meta, kept, knobs, support.x[out : out + 1])
        before, after = torch.from_numpy(base[0]), torch.from_numpy((base + correction)[0])
        if kind == "classification":
            wanted, before, after = torch.eye(3)[support.y[out]], before.softmax(-1), after.softmax(-1)
        else:
            wanted = support.y[out]
        gains.append(float((wanted - before).square().sum() - (wanted - after).square().sum()))
    state = learner.adapt(meta, support, {**learner.knobs, **knobs}, NO_NOISE)
    within = 0.025 if kind == "classification" else 1e-4  # for labels, the quadratic bound stands for the loss
    assert float(state["loo_improvement"]) == pytest.approx(float(np.mean(gains)), abs=within)
    assert abs(np.mean(gains)) > 2 * within


@pytest.mark.parametrize("kind", CASES)
def test_without_steps_outputs_are_the_initialisations(kind):
    model, spec, draw = CASES[kind]
    learner = residual_correction(model, spec, init="fresh")
    meta, x = meta_of(learner), rows(5, 9).x
    state = learner.adapt(meta, draw(6), {**learner.knobs, "steps": 0}, NO_NOISE)
    output = reptile(model, spec, init="fresh").predict(meta, {}, x)
    output = torch.log_softmax(output, -1) if kind == "classification" else output
    torch.testing.assert_close(learner.predict(meta, state, x), output)


def test_corrected_probabilities_sum_to_one():
    learner = residual_correction(mlp(), SPEC, init="fresh")
    meta, support = meta_of(learner), rows(12)
    state = learner.adapt(meta, support, {**learner.knobs, "ridge": 0.03, "weight": 1.0}, NO_NOISE)
    torch.testing.assert_close(learner.predict(meta, state, rows(50, 3).x).exp().sum(-1), torch.ones(50))


@pytest.mark.parametrize(("guard", "floor"), [(2.0, 0.0), (4.0, 0.0), (4.0, 0.3)])
@pytest.mark.parametrize(("intercept", "slope", "residual_sd"), [(0.1, 0.0, 0.3), (0.0, 1.0, 0.2), (-0.5, 0.5, 0.1)])
def test_shrinkage_is_the_probability_of_a_gain(guard, floor, intercept, slope, residual_sd):
    learner = residual_correction(mlp(), SPEC, init="fresh")
    meta, support = meta_of(learner), rows(8, 2)
    guard_knobs = {"guard": guard, "floor": floor, "intercept": intercept, "slope": slope, "residual_sd": residual_sd}
    whole = learner.adapt(meta, support, {**learner.knobs, **CORRECT, "weight": 1.0, "floor": floor}, NO_NOISE)
    state = learner.adapt(meta, support, {**learner.knobs, **CORRECT, "weight": 1.0, **guard_knobs}, NO_NOISE)
    improvement = float(state["loo_improvement"])
    probability = NormalDist().cdf((intercept + slope * improvement) / residual_sd)
    assert improvement != 0
    confidence = min(max(guard * (probability - 0.5), 0.0), 1.0)
    assert float(state["shrinkage"]) == pytest.approx(floor + (1 - floor) * confidence, abs=1e-5)
    assert float(whole["shrinkage"]) == 1.0, "without a guard, nothing is shrunk"
    torch.testing.assert_close(state["weights"], state["shrinkage"] * whole["weights"])


def test_one_interaction_has_no_loo_improvement():
    learner = residual_correction(mlp(), SPEC, init="fresh")
    state = learner.adapt(meta_of(learner), rows(1), {**learner.knobs, **CORRECT}, NO_NOISE)
    assert float(state["loo_improvement"]) == pytest.approx(0, abs=2e-3)


def test_training_is_reptiles():
    options = {"steps": 3, "lr": 0.4, "prior": 2.0}
    learner, like = (
        residual_correction(mlp(), SPEC, **options, init="fresh"),
        reptile(mlp(), SPEC, **options, init="fresh"),
    )
    meta, support, query = meta_of(learner), rows(4), rows(3, 1)
    updates = [one.update(meta, support, query, NO_NOISE) for one in (learner, like)]
    assert_trees_close(*updates, rtol=0, atol=0)
    assert learner.gradient_learner.knobs == like.knobs
    assert learner.execution.merges_query


def test_candidates_are_kernels_and_ridges():
    learner = residual_correction(mlp(), SPEC, init="fresh")
    assert {(c["mix"], c["ridge"]) for c in learner.calibration.candidates} == {
        (m, r) for m in (0, 1) for r in (0.03, 0.1, 0.3, 1)
    }
    assert all(math.isfinite(value) for c in learner.calibration.candidates for value in c.values())


class Tail(nn.Module):
    """A last linear layer whose output is scaled."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return 2 * self.last(torch.tanh(self.first(x)))


def test_features_are_the_input_of_the_last_linear_layer():
    model, x = Tail(), rows(5).x
    meta = {name: value.detach() for name, value in model.named_parameters()}
    found = forward_with_features(model, meta, x)
    torch.testing.assert_close(found.features, torch.tanh(model.first(x)))
    torch.testing.assert_close(found.output, model(x))
    plain = nn.Conv1d(4, 3, 1)
    convolved = nn.Sequential(nn.Unflatten(1, (4, 1)), plain, nn.Flatten())
    meta = {name: value.detach() for name, value in convolved.named_parameters()}
    torch.testing.assert_close(forward_with_features(convolved, meta, x).features, convolved(x))


def test_a_ranking_is_refused():
    with pytest.raises(DataError, match=r"a ranking has no residuals to correct: expected .*; use reptile"):
        residual_correction(nn.Embedding(5, 1), Spec.ranking(5), init="fresh")
