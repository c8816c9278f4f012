"""Clopper and Pearson's bounds, against exact sums of fractions and published values."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tegu.core.calibration.selection.binomial import at_most_probability, lower_bound, people_to_show, upper_bound


def exactly(count: int, people: int, share: Fraction) -> Fraction:
    return sum(
        (comb(people, each) * share**each * (1 - share) ** (people - each) for each in range(count + 1)), Fraction(0)
    )


@given(st.integers(1, 300), st.data())
def test_probabilities_are_those_of_exact_sums(people: int, data: st.DataObject) -> None:
    count, share = data.draw(st.integers(0, people)), Fraction(data.draw(st.integers(0, 100)), 100)
    assert at_most_probability(count, people, float(share)) == pytest.approx(float(exactly(count, people, share)), 1e-9)


@given(st.integers(1, 60), st.data(), st.sampled_from([0.6, 0.9, 0.99]))
def test_bounds_are_where_the_tail_has_what_confidence_leaves(people: int, data: st.DataObject, sure: float) -> None:
    count = data.draw(st.integers(0, people))
    high, low = upper_bound(count, people, sure), lower_bound(count, people, sure)
    assert 0 <= low <= count / people <= high <= 1
    if count < people:
        assert float(exactly(count, people, Fraction(high))) == pytest.approx(1 - sure, rel=1e-6)
    if count:
        assert 1 - float(exactly(count - 1, people, Fraction(low))) == pytest.approx(1 - sure, rel=1e-6)


@pytest.mark.parametrize(
    ("count", "people", "sure", "expected"),
    [(0, 100, 0.975, 0.0362), (5, 100, 0.975, 0.1128), (10, 100, 0.975, 0.1762), (1, 20, 0.975, 0.2487)],
)
def test_bounds_in_tables(count: int, people: int, sure: float, expected: float) -> None:
    assert upper_bound(count, people, sure) == pytest.approx(expected, abs=5e-5)


def test_bounds_of_nobody_and_of_many() -> None:
    assert upper_bound(0, 0, 0.9) == 1.0
    assert lower_bound(0, 0, 0.9) == 0.0
    assert upper_bound(50_000, 1_000_000, 0.9) == pytest.approx(0.05 + 1.2816 * (0.05 * 0.95 / 1e6) ** 0.5, abs=2e-6)


def test_how_many_people_it_takes() -> None:
    assert people_to_show(0.05, 0.9) == 45
    assert upper_bound(0, 45, 0.9) <= 0.05 < upper_bound(0, 44, 0.9)
    some = people_to_show(0.05, 0.9, 0.02)
    assert some is not None
    assert upper_bound(round(0.02 * some), some, 0.9) <= 0.05
    assert 77 <= some < 160
    assert people_to_show(0.05, 0.9, 0.05) is None
    assert people_to_show(0.0, 0.9) is None
    assert people_to_show(1.0, 0.9) == 1
