"""Ridge regression on features by matrix products, against linear algebra in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tegu.learners.solvers.linear_ridge import fit_linear


def drawn(rows: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(rows)
    return rng.normal(size=(rows, width)), rng.normal(size=rows), rng.uniform(0.2, 2.0, width)


def solved(x: np.ndarray, y: np.ndarray, penalties: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.solve(x.T @ x + np.diag(penalties), x.T @ y))


def found(x: np.ndarray, y: np.ndarray, mask: np.ndarray, penalties: np.ndarray) -> tuple[np.ndarray, ...]:
    tensors = (torch.tensor(each, dtype=torch.float32) for each in (x, y, mask, penalties))
    return tuple(part.double().numpy() for part in fit_linear(*tensors))


@pytest.mark.parametrize("rows", [1, 5, 300])
def test_weights_and_inverse_are_those_of_linear_algebra(rows: int) -> None:
    x, y, penalties = drawn(rows, 6)
    weights, inverse, _ = found(x, y, np.ones(rows), penalties)
    np.testing.assert_allclose(weights, solved(x, y, penalties), atol=1e-4)
    np.testing.assert_allclose(inverse, np.linalg.inv(x.T @ x + np.diag(penalties)), atol=1e-4)


def test_a_row_counts_as_much_as_its_mask_says() -> None:
    x, y, penalties = drawn(8, 4)
    mask = np.asarray([1, 1, 0.5, 0.25, 1, 0, 1, 0])
    weights, _, left_out = found(x, y, mask, penalties)
    root = np.sqrt(mask)
    np.testing.assert_allclose(weights, solved(x * root[:, None], y * root, penalties), atol=1e-4)
    assert not left_out[mask == 0].any()


def test_leave_one_out_residuals_are_those_of_the_other_rows_fit() -> None:
    x, y, penalties = drawn(9, 4)
    _, _, left_out = found(x, y, np.ones(9), penalties)
    for row in range(9):
        others = np.arange(9) != row
        expected = y[row] - x[row] @ solved(x[others], y[others], penalties)
        assert left_out[row] == pytest.approx(expected, abs=1e-3)
