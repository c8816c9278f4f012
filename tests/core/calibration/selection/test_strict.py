"""The choice from sums, against the same choice from every user's own figures."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tegu.core.calibration.selection.limits import STRICT_RISK as RISK
from tegu.core.calibration.selection.strict import gain_sums, harm_probability, harm_rate_bound, select_candidate
from tegu.core.data.batch import Array


def hurt(gains: list[list[float]], tolerances: list[float]) -> float:
    """The rate of hurt users, in plain Python."""
    chances = []
    for each, tolerance in zip(gains, tolerances, strict=True):
        error = float(np.std(each, ddof=1)) / math.sqrt(len(each)) if len(each) > 1 else 0.0
        chances.append(NormalDist(float(np.mean(each)), max(error, tolerance / 4, 1e-12)).cdf(-tolerance))
    rate = float(np.mean(chances))
    return rate + 0.7 * math.sqrt(rate * (1 - rate) / len(gains))


def rate(gain: Array, tolerance: Array) -> float:
    return harm_rate_bound(len(gain), gain_sums(gain, tolerance)[2])


def chosen(gains: list[Array], tolerance: Array) -> int | None:
    return select_candidate(len(tolerance), np.stack([gain_sums(gain, tolerance) for gain in gains])).candidate


def test_the_rate_of_hurt_users_by_hand() -> None:
    gain = np.asarray([[0.3, 0.1, 0.2], [-0.5, -0.7, -0.6], [0.0, 0.0, 0.0]])
    tolerance = np.asarray([0.1, 0.1, 0.1])
    assert rate(gain, tolerance) == pytest.approx(hurt(gain.tolist(), tolerance.tolist()), abs=1e-12)
    assert rate(np.full((4, 1), -1.0), np.zeros(4)) == 1.0
    assert rate(np.full((4, 1), 1.0), np.zeros(4)) == 0.0


@given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**31))
def test_sums_of_parts_choose_as_everybodys_own_figures(users: int, draws: int, parts: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    gains = [rng.normal(rng.uniform(-0.1, 0.5), 0.3, (users, draws)) for _ in range(6)]
    tolerance = rng.uniform(0.0, 0.4, users)
    whose = np.array_split(rng.permutation(users), parts)
    sums = sum(np.stack([gain_sums(gain[own], tolerance[own]) for gain in gains]) for own in whose if len(own))
    best, expected = 0.0, None
    for place, gain in enumerate(gains):
        each = gain.mean(1)
        clear = each.mean() > 1.645 * each.std() / math.sqrt(users)
        if clear and gain.mean() > best and hurt(gain.tolist(), tolerance.tolist()) <= RISK:
            best, expected = float(gain.mean()), place
    found = select_candidate(users, np.asarray(sums))
    assert found.candidate == expected
    assert found.gain == pytest.approx(best)
    if expected is not None:
        assert found.gain_sd == pytest.approx(gains[expected].mean(1).std(), abs=1e-7)


def test_few_users_cannot_show_that_one_in_twenty_is_hurt() -> None:
    doubtful = [np.full((9, 5), 0.1), np.asarray([[-0.4] * 5, *[[0.9] * 5] * 8])]
    assert chosen(doubtful, np.full(9, 0.05)) == 0
    assert chosen(doubtful[1:], np.full(9, 0.05)) is None
    many = np.concatenate([doubtful[1][:1], np.full((199, 5), 0.9)])
    assert rate(many, np.full(200, 0.05)) < RISK
    assert chosen([many], np.full(200, 0.05)) == 0


def test_what_is_not_finite_is_never_chosen() -> None:
    assert chosen([np.asarray([[np.nan, 1.0]]), np.asarray([[np.inf, 1.0]])], np.ones(1)) is None
    assert np.isnan(gain_sums(np.asarray([[np.inf, 1.0], [1.0, 1.0]]), np.ones(2))).all()


def test_of_equals_to_rounding_the_first_is_chosen() -> None:
    """A device and a batch of devices round differently: they are to choose the same."""
    gain = np.full((20, 5), 0.3)
    assert chosen([gain, gain * (1 + 1e-7)], np.full(20, 0.1)) == 0
    assert chosen([gain, gain * (1 + 1e-5)], np.full(20, 0.1)) == 1


def test_a_gain_has_to_stand_clear_of_nothing() -> None:
    """The best of a hundred ways that gain nothing seems to gain; what gains a little, always, does gain."""
    rng = np.random.default_rng(0)
    noise = [rng.normal(0.0, 0.1, (50, 5)) for _ in range(100)]
    best = max(float(gain.mean()) for gain in noise)
    assert best > 0.01
    taken = [chosen(noise[first : first + 2], np.ones(50)) for first in range(0, 100, 2)]
    assert sum(option is not None for option in taken) <= 10  # one in twenty of a hundred
    assert chosen([np.full((50, 5), best)], np.ones(50)) == 0
    assert chosen([rng.normal(0.02, 0.1, (5000, 5))], np.ones(5000)) == 0


def test_a_small_loss_is_tolerated() -> None:
    assert harm_probability(np.full((1, 5), -0.1), np.asarray([0.2]))[0] < 0.03
    assert harm_probability(np.full((1, 5), -0.2), np.asarray([0.2]))[0] == pytest.approx(0.5)
