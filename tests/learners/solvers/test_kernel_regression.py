"""Kernel regression by matrix products, against linear algebra and Newton's method in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from tests.learners.reference_regression import newton
from tests.learners.toys import unit_rows
from torch import Tensor
from torch.func import vmap

from tegu.core.data.spec import Kind
from tegu.learners.solvers.kernel import kernel
from tegu.learners.solvers.kernel_regression import LINKS, fit

KINDS: tuple[Kind, ...] = ("classification", "multilabel", "regression")
RIDGE = LINKS["regression"]


def drawn(count: int, kind: Kind, seed: int = 7, outputs: int = 3) -> tuple[Tensor, Tensor]:
    """The start and the targets of some rows."""
    generator = torch.Generator().manual_seed(seed)
    start, values = (torch.randn(count, outputs, generator=generator) for _ in range(2))
    if kind == "classification":
        return start, F.one_hot(values.argmax(-1), outputs).float()
    return start, values if kind == "regression" else (values > 0).float()


@pytest.mark.parametrize("mix", [0.0, 1.0])
@pytest.mark.parametrize("ridge", [0.03, 1.0])
@pytest.mark.parametrize(("real", "padding"), [(1, 0), (5, 0), (5, 4), (60, 3)])
def test_values_are_fitted_by_ridge_regression_of_residuals(mix: float, ridge: float, real: int, padding: int) -> None:
    inputs, (start, targets) = unit_rows(real + padding, 8), drawn(real + padding, "regression")
    mask = torch.arange(real + padding).lt(real).float()
    found = fit(kernel(inputs, inputs, mix), start, targets, mask, ridge, RIDGE)
    exact = kernel(inputs.double(), inputs.double(), mix)[:real, :real] + ridge * torch.eye(real, dtype=torch.float64)
    expected = torch.linalg.solve(exact, (targets - start)[:real].double())
    np.testing.assert_allclose(found.weights[:real], expected, rtol=0, atol=3e-4 * float(expected.abs().max()))
    assert not found.weights[real:].any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("ridge", "within"), [(3.0, 1e-3), (1.0, 5e-3), (0.3, 0.05)])
@pytest.mark.parametrize(("real", "padding"), [(1, 0), (20, 4)])
def test_the_fit_is_that_of_newtons_method(kind: Kind, ridge: float, within: float, real: int, padding: int) -> None:
    inputs, (start, targets) = unit_rows(real + padding, 8), drawn(real + padding, kind)
    mask, matrix = torch.arange(real + padding).lt(real).float(), kernel(inputs, inputs, 0.5)
    found = fit(matrix, start, targets, mask, ridge, LINKS[kind])
    parts = (each[:real].double().numpy() for each in (matrix[:, :real], start, targets))
    expected = newton(*parts, ridge, kind)
    fitted = matrix[:real, :real].double().numpy() @ expected
    np.testing.assert_allclose(matrix[:real] @ found.weights, fitted, rtol=0, atol=within)
    assert np.abs(fitted).max() > 10 * within
    assert not found.weights[real:].any()


def test_more_iterations_come_closer() -> None:
    inputs, (start, targets) = unit_rows(20, 8), drawn(20, "classification")
    matrix = kernel(inputs, inputs, 0.5)
    parts = (each.double().numpy() for each in (matrix, start, targets))
    expected = torch.from_numpy(matrix.double().numpy() @ newton(*parts, 0.1, "classification")).float()
    links = [LINKS["classification"]._replace(iterations=number) for number in (3, 12, 60)]
    fitted = [matrix @ fit(matrix, start, targets, torch.ones(20), 0.1, link).weights for link in links]
    errors = [float((each - expected).abs().max()) for each in fitted]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]
    assert errors[2] < 2e-3


@pytest.mark.parametrize("weights", [(1.0,) * 7, (1.0, 0.5, 0.2, 1.0, 0.9, 1.0, 0.3)])
def test_what_is_left_out_is_that_of_refitting_without_the_row(weights: tuple[float, ...]) -> None:
    inputs, (start, targets), ridge = unit_rows(7, 4), drawn(7, "regression", 3), 0.2
    matrix, mask = kernel(inputs, inputs, 0.5), torch.tensor(weights)
    found = fit(matrix, start, targets, mask, ridge, RIDGE).left_out
    for out in range(7):
        rest = [row for row in range(7) if row != out]
        exact = matrix[rest][:, rest].double() + ridge * torch.diag(1 / mask[rest].double())
        guess = matrix[out, rest].double() @ torch.linalg.solve(exact, (targets - start)[rest].double())
        np.testing.assert_allclose(found[out], guess, atol=1e-4)


@pytest.mark.parametrize("kind", ["classification", "multilabel"])
def test_labels_left_out_are_close_to_those_of_refitting(kind: Kind) -> None:
    inputs, (start, targets), ridge = unit_rows(12, 4), drawn(12, kind, 3), 1.0
    matrix = kernel(inputs, inputs, 0.5)
    found = fit(matrix, start, targets, torch.ones(12), ridge, LINKS[kind]).left_out.double().numpy()
    exact, begin, wanted = (each.double().numpy() for each in (matrix, start, targets))
    refitted = np.empty_like(found)
    for out in range(12):
        rest = [row for row in range(12) if row != out]
        own = newton(exact[np.ix_(rest, rest)], begin[rest], wanted[rest], ridge, kind)
        refitted[out] = exact[out, rest] @ own
    assert np.abs(found - refitted).max() < 0.15 * np.abs(refitted).max()


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_row_left_out_leaves_the_start(kind: Kind) -> None:
    start, targets = drawn(1, kind)
    found = fit(torch.ones(1, 1), start, targets, torch.ones(1), 0.3, LINKS[kind])
    assert float(found.left_out.abs().max()) < 0.02
    assert float(found.weights.abs().max()) > 0.05


def test_repeated_rows_are_stable() -> None:
    inputs = unit_rows(1, 4).expand(50, -1)
    zeros, ones = torch.zeros(50, 1), torch.ones(50, 1)
    found = fit(kernel(inputs, inputs, 1.0), zeros, ones, torch.ones(50), 0.03, RIDGE)
    torch.testing.assert_close(found.weights, torch.full((50, 1), 1 / 50.03), rtol=1e-3, atol=0)


def test_batched_users_equal_single_users() -> None:
    inputs = torch.stack([unit_rows(5, 3, seed) for seed in range(4)])
    starts, targets = (
        torch.stack(each) for each in zip(*(drawn(5, "classification", n) for n in range(4)), strict=True)
    )
    mask = torch.ones(4, 5)
    mask[1, 3:] = 0

    def weights(x: Tensor, start: Tensor, y: Tensor, m: Tensor) -> Tensor:
        return fit(kernel(x, x, 0.5), start, y, m, 0.1, LINKS["classification"]).weights

    batched = vmap(weights)(inputs, starts, targets, mask)
    for user in range(4):
        own = weights(inputs[user], starts[user], targets[user], mask[user])
        torch.testing.assert_close(batched[user], own)


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_of_the_weights_is_that_of_the_solution(kind: Kind) -> None:
    """The solution's gradient by finite differences of Newton's method."""
    inputs, (start, targets) = unit_rows(6, 4).double(), drawn(6, kind)
    start, targets, mask = start.double(), targets.double(), torch.ones(6).double()
    weighting = drawn(6, "regression", 5)[0].double()
    link = LINKS[kind]._replace(iterations=200)

    def solved(x: Tensor, begin: Tensor) -> float:
        weights = newton((x @ x.T).numpy(), begin.numpy(), targets.numpy(), 0.5, kind)
        return float((weights * weighting.numpy()).sum())

    x, begin = inputs.clone().requires_grad_(), start.clone().requires_grad_()
    found = (fit(x @ x.T, begin, targets, mask, 0.5, link).weights * weighting).sum()
    of_x, of_start = torch.autograd.grad(found, (x, begin))
    for place in ((0, 1), (3, 2)):
        moved = torch.zeros_like(inputs)
        moved[place] = 1e-5
        slope = (solved(inputs + moved, start) - solved(inputs - moved, start)) / 2e-5
        assert float(of_x[place]) == pytest.approx(slope, abs=1e-4)
        moved = torch.zeros_like(start)
        moved[place] = 1e-5
        slope = (solved(inputs, start + moved) - solved(inputs, start - moved)) / 2e-5
        assert float(of_start[place]) == pytest.approx(slope, abs=1e-4)
