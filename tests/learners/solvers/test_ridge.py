"""Kernel ridge regression by matrix products, against linear algebra in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.func import vmap

from tegu.learners.solvers.ridge import differentiable_weights, fit, kernel, unit_length


def rows(count: int, width: int, seed: int = 0) -> torch.Tensor:
    return unit_length(torch.randn(count, width, generator=torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize("mix", [0.0, 0.3, 1.0])
def test_the_kernel_by_hand(mix):
    a, b = rows(4, 3), rows(5, 3, 1)
    found = kernel(a, b, mix)
    for i in range(4):
        for j in range(5):
            cosine = sum(float(x) * float(y) for x, y in zip(a[i], b[j], strict=True))
            assert float(found[i, j]) == pytest.approx(
                mix * cosine + (1 - mix) * math.exp(-(1 - cosine) / 0.25), abs=1e-6
            )


def test_rows_have_length_one_and_zeros_stay():
    found = unit_length(torch.tensor([[3.0, 4.0], [0.0, 0.0], [1e-20, 0.0]]))
    torch.testing.assert_close(found[0], torch.tensor([0.6, 0.8]))
    assert not found[1].any()
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("mix", [0.0, 1.0])
@pytest.mark.parametrize("ridge", [0.03, 1.0])
@pytest.mark.parametrize(("real", "padding"), [(1, 0), (5, 0), (5, 4), (60, 3)])
def test_the_fit_solves_the_equations(mix, ridge, real, padding):
    inputs, targets = (
        rows(real + padding, 8),
        torch.randn(real + padding, 2, generator=torch.Generator().manual_seed(7)),
    )
    mask = torch.arange(real + padding).lt(real).float()
    found = fit(kernel(inputs, inputs, mix), targets, mask, ridge)
    exact = kernel(inputs.double(), inputs.double(), mix)[:real, :real] + ridge * torch.eye(real, dtype=torch.float64)
    expected = torch.linalg.solve(exact, targets[:real].double())
    np.testing.assert_allclose(found.weights[:real], expected, rtol=0, atol=3e-4 * float(expected.abs().max()))
    assert not found.weights[real:].any()


def test_loo_residuals_are_those_of_refitting_without_the_row():
    inputs, targets, ridge = rows(7, 4), torch.randn(7, 2, generator=torch.Generator().manual_seed(3)), 0.2
    matrix = kernel(inputs, inputs, 0.5)
    found = fit(matrix, targets, torch.ones(7), ridge).loo_residuals
    for out in range(7):
        rest = [row for row in range(7) if row != out]
        exact = matrix[rest][:, rest].double() + ridge * torch.eye(6, dtype=torch.float64)
        guess = matrix[out, rest].double() @ torch.linalg.solve(exact, targets[rest].double())
        np.testing.assert_allclose(found[out], targets[out] - guess, atol=1e-4)


def test_repeated_rows_are_stable():
    inputs = rows(1, 4).expand(50, -1)
    found = fit(kernel(inputs, inputs, 1.0), torch.ones(50, 1), torch.ones(50), 0.03)
    torch.testing.assert_close(found.weights, torch.full((50, 1), 1 / 50.03), rtol=1e-3, atol=0)


def test_batched_users_equal_single_users():
    inputs = torch.stack([rows(5, 3, seed) for seed in range(4)])
    targets, mask = torch.randn(4, 5, 2, generator=torch.Generator().manual_seed(1)), torch.ones(4, 5)
    mask[1, 3:] = 0

    def weights(x, y, m):
        return fit(kernel(x, x, 0.5), y, m, 0.1).weights

    batched = vmap(weights)(inputs, targets, mask)
    for user in range(4):
        torch.testing.assert_close(batched[user], weights(inputs[user], targets[user], mask[user]))


def test_the_gradient_of_the_weights_is_that_of_a_solved_system() -> None:
    torch.manual_seed(0)
    features, targets = torch.randn(6, 4).double().requires_grad_(), torch.randn(6, 2).double().requires_grad_()
    mask, weighting = torch.tensor([1.0, 0.5, 1.0, 0.0, 1.0, 0.2]).double(), torch.randn(6, 2).double()
    root = mask.sqrt()
    system = (root[:, None] * features) @ (root[:, None] * features).T + 0.3 * torch.eye(6).double()
    solved = root[:, None] * torch.linalg.solve(system, root[:, None] * targets)
    found = differentiable_weights(features @ features.T, targets, mask, 0.3)
    assert torch.allclose(found, solved, atol=1e-6)
    expected = torch.autograd.grad((solved * weighting).sum(), (features, targets))
    for one, other in zip(torch.autograd.grad((found * weighting).sum(), (features, targets)), expected, strict=True):
        assert torch.allclose(one, other, atol=1e-5)
