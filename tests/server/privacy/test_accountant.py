"""The accountant beside others: Opacus's (PRV and RDP), and the moments of the subsampled Gaussian in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import gammaln, logsumexp

from tegu.core.privacy.gaussian import gaussian_epsilon
from tegu.server.privacy.accountant import Accountant, Spent, noise_for

DELTA = 1e-5
CASES = [(0.05, 1.0, 100), (0.3, 3.0, 300), (0.1, 0.8, 20)]


def by_moments(probability: float, noise: float, rounds: int) -> float:
    """An upper bound by Renyi moments at whole orders: Mironov, Talwar, Zhang 2019, arXiv:1908.10530, section 3.3."""
    found = []
    for order in range(2, 200):
        k = np.arange(order + 1)
        logs = (
            gammaln(order + 1) - gammaln(k + 1) - gammaln(order - k + 1)
            + (order - k) * math.log1p(-probability) + k * math.log(probability) + k * (k - 1) / (2 * noise**2)
        )  # fmt: skip
        renyi = rounds * float(logsumexp(logs)) / (order - 1)
        conversion = math.log1p(-1 / order) - math.log(DELTA * order) / (order - 1)
        found.append(renyi + conversion)
    return min(found)


@pytest.mark.parametrize(("probability", "noise", "rounds"), CASES)
def test_epsilon_is_that_of_opacus(probability: float, noise: float, rounds: int) -> None:
    from opacus.accountants import PRVAccountant  # imports take seconds

    epsilon = Accountant(DELTA, [Spent(probability, noise, rounds)]).epsilon()
    other = PRVAccountant()
    other.history = [(noise, probability, rounds)]
    expected = other.get_epsilon(DELTA)  # an upper bound, to 0.01
    assert epsilon == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize(("probability", "noise", "rounds"), CASES)
def test_epsilon_is_a_little_below_the_bound_by_moments(probability: float, noise: float, rounds: int) -> None:
    epsilon = Accountant(DELTA, [Spent(probability, noise, rounds)]).epsilon()
    bound = by_moments(probability, noise, rounds)
    assert 0.75 * bound < epsilon < bound


def test_rounds_of_all_nodes_are_a_gaussian_mechanism() -> None:
    spent = [Spent(1.0, 2.0, 5), Spent(1.0, 4.0, 8)]
    expected = gaussian_epsilon(5 / 4 + 8 / 16, DELTA)
    assert Accountant(DELTA, spent).epsilon() == pytest.approx(expected, rel=1e-3)


def test_rounds_of_several_kinds_add_up() -> None:
    account = Accountant(DELTA, [Spent(0.2, 1.5, 10)])
    before = account.epsilon()
    assert account.epsilon(Spent(1.0, 5.0, 1)) > before
    assert account.epsilon() == before, "asking spends nothing"
    for _ in range(3):
        account.add(Spent(0.2, 1.5, 1))
    assert account.spent == (Spent(0.2, 1.5, 13),)
    assert account.epsilon() == Accountant(DELTA, [Spent(0.2, 1.5, 13)]).epsilon() > before
    assert Accountant(DELTA).epsilon() == 0.0


@pytest.mark.parametrize(("epsilon", "probability", "rounds"), [(8.0, 0.25, 10), (1.0, 1.0, 5), (60.0, 0.5, 3)])
def test_the_noise_for_an_epsilon_is_the_least(epsilon: float, probability: float, rounds: int) -> None:
    noise = noise_for(epsilon, DELTA, probability, rounds)
    assert Accountant(DELTA, [Spent(probability, noise, rounds)]).epsilon() <= epsilon
    if noise > 0.11:  # less is not tried
        assert Accountant(DELTA, [Spent(probability, 0.99 * noise, rounds)]).epsilon() > epsilon
