"""Log-likelihoods of a user's rows, and the softmax of scalars, against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tegu.learners.algorithms.mixture.responsibility import log_likelihoods, loo_log_likelihoods, softmax_scalars

LOSSES = [torch.tensor([0.5, 2.0, 0.25, 99.0]), torch.tensor([1.5, 0.125, 1.0, 99.0])]
MASK = torch.tensor([1.0, 1.0, 1.0, 0.0])


def likelihood(kind: str, losses: np.ndarray) -> float:
    """Log-likelihood of real rows: minus the summed loss, or that of the best Gaussian up to a constant."""
    return float(-len(losses) / 2 * np.log(losses.mean()) if kind == "regression" else -losses.sum())


@pytest.mark.parametrize("kind", ["classification", "ranking", "regression"])
def test_padding_counts_for_nothing(kind):
    found = log_likelihoods(kind, LOSSES, MASK)
    expected = [likelihood(kind, each.numpy()[:3]) for each in LOSSES]
    np.testing.assert_allclose([float(each) for each in found], expected, rtol=1e-6)


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_leaving_a_row_out_equals_removing_it(kind):
    found = loo_log_likelihoods(kind, LOSSES, MASK)
    for each, losses in zip(found, LOSSES, strict=True):
        expected = [likelihood(kind, np.delete(losses.numpy()[:3], row)) for row in range(3)]
        np.testing.assert_allclose(each[:3], expected, rtol=1e-6)


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_without_rows_the_log_likelihood_is_zero(kind):
    assert [float(each) for each in log_likelihoods(kind, LOSSES, torch.zeros(4))] == [0, 0]
    alone = torch.tensor([1.0, 0.0, 0.0, 0.0])
    assert [float(each[0]) for each in loo_log_likelihoods(kind, LOSSES, alone)] == [0, 0]


def test_rows_that_are_predicted_exactly_have_a_finite_likelihood():
    found = log_likelihoods("regression", [torch.zeros(4), LOSSES[0]], MASK)
    assert torch.isfinite(found[0])
    assert found[0] > found[1]


def test_units_do_not_matter_for_regression():
    """Only the ratio of losses matters, in metres as in millimetres."""
    first, second = (
        [
            float(weight)
            for weight in softmax_scalars(log_likelihoods("regression", [unit * each for each in LOSSES], MASK))
        ]
        for unit in (1.0, 1e6)
    )
    np.testing.assert_allclose(first, second, rtol=1e-5)


def test_softmax_of_scalars_is_stable_far_from_zero():
    scores = [torch.tensor(800.0), torch.tensor(801.0), torch.tensor(-900.0)]
    found = [float(weight) for weight in softmax_scalars(scores)]
    np.testing.assert_allclose(found, torch.softmax(torch.stack(scores), 0), rtol=1e-6)
