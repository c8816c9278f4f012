"""The confidence interval of a mean, compared with closed forms."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from tegu.sim.evaluation import bootstrap
from tegu.sim.evaluation.bootstrap import mean_interval


def interval(values: list[float] | np.ndarray, seed: int = 0) -> tuple[float, float]:  # type: ignore[type-arg]
    return mean_interval(np.asarray(values), np.random.default_rng(seed))


def binomial_quantile(n: int, share: float, level: float) -> int:
    """The least count whose cumulative probability reaches the level."""
    total = 0.0
    for count in range(n + 1):
        total += math.comb(n, count) * share**count * (1 - share) ** (n - count)
        if total >= level:
            return count
    return n


@pytest.mark.parametrize(("n", "ones"), [(3, 1), (10, 3), (50, 10), (200, 3)])
def test_zeros_and_ones_are_resampled_as_a_binomial(n: int, ones: int) -> None:
    """Quantiles of a binomial, exact for n = 3 and within one count for more; not symmetric about the mean."""
    low, high = interval([1.0] * ones + [0.0] * (n - ones))
    for found, level in ((low, 0.025), (high, 0.975)):
        assert abs(found * n - binomial_quantile(n, ones / n, level)) <= (0 if n == 3 else 1)


def test_many_users_have_the_normal_interval() -> None:
    values = np.random.default_rng(5).normal(3.0, 2.0, 4000)
    normal = statistics.NormalDist(float(values.mean()), float(values.std()) / math.sqrt(4000))
    assert interval(values) == pytest.approx((normal.inv_cdf(0.025), normal.inv_cdf(0.975)), abs=0.2 * normal.stdev)


def test_the_same_draws_give_the_same_interval_and_others_do_not() -> None:
    values = np.random.default_rng(1).normal(size=30)
    assert interval(values) == interval(values)
    assert interval(values) != interval(values, seed=1)


def test_the_size_of_a_block_of_draws_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).normal(size=30)
    whole = interval(values)
    for drawn in (1, 30 * 7, 30 * 1999):
        monkeypatch.setattr(bootstrap, "_DRAWN", drawn)
        assert interval(values) == pytest.approx(whole, abs=1e-12)


def test_equal_values_give_an_interval_of_no_width() -> None:
    assert interval([0.25] * 8) == interval([0.25]) == (0.25, 0.25)
