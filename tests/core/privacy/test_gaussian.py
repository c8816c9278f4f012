"""The epsilon of Gaussian answers, beside an integral over the privacy loss and beside dp-accounting."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from tegu.core.privacy.gaussian import gaussian_epsilon


def delta_by_integral(epsilon: float, multiplier: float) -> float:
    """The definition: the integral of max(0, p - e^epsilon q) for p = N(1, z^2) and q = N(0, z^2)."""
    grid = np.linspace(-60 * multiplier, 60 * multiplier + 1, 2_000_001)
    p, q = norm.pdf(grid, 1, multiplier), norm.logpdf(grid, 0, multiplier) + epsilon
    return float(np.trapezoid(np.maximum(p - np.exp(q), 0), grid))


@pytest.mark.parametrize("multiplier", [0.4, 1.0, 5.0])
@pytest.mark.parametrize("delta", [1e-3, 1e-6])
def test_epsilon_is_that_of_the_definition(multiplier: float, delta: float) -> None:
    epsilon = gaussian_epsilon(multiplier**-2, delta)
    assert delta_by_integral(epsilon, multiplier) == pytest.approx(delta, rel=1e-3)


def test_epsilon_grows_with_answers_and_falls_with_noise() -> None:
    assert gaussian_epsilon(0.0, 1e-5) == 0.0
    assert gaussian_epsilon(1e-12, 1e-5) == 0.0
    found = [gaussian_epsilon(answers / 2.0**2, 1e-5) for answers in (1, 10, 100, 10_000)]
    assert found == sorted(found)
    assert found[-1] == pytest.approx(50**2 / 2 + 50 * 4.26, rel=0.01), "far out: mean and tail of the loss"
    assert math.isfinite(gaussian_epsilon(1e6, 1e-9))
