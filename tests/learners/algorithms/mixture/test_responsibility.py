"""Likelihoods of a user's rows, and shares, against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tegu.learners.algorithms.mixture.responsibility import fits, left_out, shares

LOSSES = [torch.tensor([0.5, 2.0, 0.25, 99.0]), torch.tensor([1.5, 0.125, 1.0, 99.0])]
MASK = torch.tensor([1.0, 1.0, 1.0, 0.0])


def likelihood(kind: str, losses: np.ndarray) -> float:
    """Of rows that are all real: the loss itself, or the best Gaussian's, less what does not depend on the losses."""
    return float(-len(losses) / 2 * np.log(losses.mean()) if kind == "regression" else -losses.sum())


@pytest.mark.parametrize("kind", ["classification", "ranking", "regression"])
def test_padding_counts_for_nothing(kind):
    found = fits(kind, LOSSES, MASK)
    expected = [likelihood(kind, each.numpy()[:3]) for each in LOSSES]
    np.testing.assert_allclose([float(each) for each in found], expected, rtol=1e-6)


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_leaving_a_row_out_is_not_having_it(kind):
    found = left_out(kind, LOSSES, MASK)
    for each, losses in zip(found, LOSSES, strict=True):
        expected = [likelihood(kind, np.delete(losses.numpy()[:3], row)) for row in range(3)]
        np.testing.assert_allclose(each[:3], expected, rtol=1e-6)


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_no_row_says_nothing(kind):
    assert [float(each) for each in fits(kind, LOSSES, torch.zeros(4))] == [0, 0]
    alone = torch.tensor([1.0, 0.0, 0.0, 0.0])
    assert [float(each[0]) for each in left_out(kind, LOSSES, alone)] == [0, 0]


def test_rows_that_are_told_exactly_are_finite():
    found = fits("regression", [torch.zeros(4), LOSSES[0]], MASK)
    assert torch.isfinite(found[0])
    assert found[0] > found[1]


def test_units_do_not_matter_to_a_regression():
    """Only the ratio of losses does: metres or millimetres."""
    first, second = (
        [float(share) for share in shares(fits("regression", [unit * each for each in LOSSES], MASK))]
        for unit in (1.0, 1e6)
    )
    np.testing.assert_allclose(first, second, rtol=1e-5)


def test_shares_are_a_softmax_far_from_zero_too():
    scores = [torch.tensor(800.0), torch.tensor(801.0), torch.tensor(-900.0)]
    found = [float(share) for share in shares(scores)]
    np.testing.assert_allclose(found, torch.softmax(torch.stack(scores), 0), rtol=1e-6)
