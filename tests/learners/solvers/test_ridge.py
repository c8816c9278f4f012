"""Ridge regression in both forms, against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tegu.learners.solvers.ridge import ridge_weights


@pytest.mark.parametrize("rows", [0, 1, 4, 5, 6, 40])
def test_weights_are_those_of_the_normal_equations(rows: int) -> None:
    rng = np.random.default_rng(rows)
    x, y, mask = rng.normal(size=(rows, 5)), rng.normal(size=(rows, 2)), rng.uniform(0.1, 1, rows)
    mask[::3] = 0
    expected = np.linalg.solve((x.T * mask) @ x + 0.3 * np.eye(5), (x.T * mask) @ y)
    found = ridge_weights(*(torch.from_numpy(each).float() for each in (x, y, mask)), 0.3)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("rows", [3, 12])
def test_gradients_are_those_of_the_solution(rows: int) -> None:
    x, y = (torch.randn(rows, width, dtype=torch.float64, requires_grad=True) for width in (5, 2))
    ridge, mask = torch.tensor(0.4, dtype=torch.float64, requires_grad=True), torch.ones(rows, dtype=torch.float64)

    def weights(x: torch.Tensor, y: torch.Tensor, ridge: torch.Tensor) -> torch.Tensor:
        return ridge_weights(x, y, mask, ridge)

    assert torch.autograd.gradcheck(weights, (x, y, ridge))
