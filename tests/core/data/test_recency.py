"""Weights halve with every half-life; the effective number is that of equal interactions as good."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tegu.core.data.recency import check_half_life, effective_sample_size, recency_weights
from tegu.core.errors import DataError


def test_an_interaction_counts_half_after_a_half_life() -> None:
    weights = recency_weights(7, 2.0)
    assert weights.dtype == np.float32
    np.testing.assert_array_equal(weights[[6, 4, 2, 0]], [1, 0.5, 0.25, 0.125])
    np.testing.assert_allclose(weights[1:] / weights[:-1], math.sqrt(2), rtol=1e-6)
    np.testing.assert_array_equal(recency_weights(3, None), np.ones(3, np.float32))
    assert recency_weights(0, 2.0).shape == recency_weights(0, None).shape == (0,)


def test_what_is_very_old_counts_nothing() -> None:
    weights = recency_weights(3000, 1.0)
    assert weights[0] == 0
    assert weights[-1] == 1


def test_noise_is_as_large_in_the_mean_of_the_effective_number() -> None:
    weights = recency_weights(12, 3.0)
    noise = np.random.default_rng(0).normal(size=(200_000, 12))
    variance = float(np.average(noise, axis=1, weights=weights).var())
    assert effective_sample_size(weights) == pytest.approx(1 / variance, rel=0.02)


@given(st.lists(st.floats(1e-3, 1.0), min_size=1, max_size=50))
def test_the_effective_number_is_between_one_and_all(weights: list[float]) -> None:
    found = effective_sample_size(np.asarray(weights, np.float32))
    assert max(1.0, sum(weights)) * (1 - 1e-6) <= found <= len(weights) * (1 + 1e-6)


@pytest.mark.parametrize("rows", [1, 7, 256, 10_001])
def test_equal_interactions_are_as_many_as_there_are(rows: int) -> None:
    assert effective_sample_size(recency_weights(rows, None)) == rows
    assert effective_sample_size(np.concatenate([recency_weights(rows, None), np.zeros(5, np.float32)])) == rows


@pytest.mark.parametrize("wrong", [0, -1.0, math.nan, math.inf])
def test_a_half_life_is_a_number_above_zero(wrong: float) -> None:
    with pytest.raises(DataError, match=r"half_life is .*: expected a number"):
        check_half_life(wrong)


def test_half_lives_that_will_do() -> None:
    check_half_life(None)
    check_half_life(0.5)
    check_half_life(30)
