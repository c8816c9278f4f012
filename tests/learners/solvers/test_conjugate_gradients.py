"""Conjugate gradients against a solution in float64."""

from __future__ import annotations

import pytest
import torch

from tegu.learners.solvers.conjugate_gradients import next_progress, no_progress

SIZE = 64


def system(condition: float):
    """A positive definite matrix in float64 with eigenvalues from 1 to `condition`, and a right side."""
    drawn = torch.Generator().manual_seed(0)
    axes = torch.linalg.qr(torch.randn(SIZE, SIZE, generator=drawn, dtype=torch.float64)).Q
    matrix = axes @ torch.diag(torch.linspace(1, condition, SIZE, dtype=torch.float64)) @ axes.T
    return matrix, torch.randn(SIZE, generator=drawn, dtype=torch.float64)


@pytest.mark.parametrize("condition", [2.0, 10.0, 100.0])
@pytest.mark.parametrize("steps", [6, 12])
def test_the_error_keeps_the_bound_of_the_method(condition: float, steps: int) -> None:
    matrix, target = system(condition)
    single = matrix.float()
    progress = no_progress(target.float())
    for _ in range(steps):
        progress = next_progress(progress, lambda x: single @ x)
    exact = torch.linalg.solve(matrix, target)
    error = progress.solution - exact
    root = condition**0.5
    bound = 2 * ((root - 1) / (root + 1)) ** steps + 1e-6  # rounding to float32
    assert (error @ matrix @ error).sqrt() < bound * (exact @ matrix @ exact).sqrt()
    torch.testing.assert_close(progress.length, progress.residual.square().sum())


def test_a_solution_stays_and_nothing_gives_nothing() -> None:
    progress = no_progress(torch.tensor([2.0, 0.0]))
    for _ in range(5):
        progress = next_progress(progress, lambda x: 2 * x)
    assert progress.solution.tolist() == [1.0, 0.0]
    nothing = next_progress(no_progress(torch.zeros(2)), lambda x: 2 * x)
    assert nothing.solution.tolist() == [0.0, 0.0]
