"""Paths, walks, pooling over k and monotone gains, each against a computation by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tegu.core.calibration.selection.figures import Figures, figure_sums, neighbour_weights, pool_over_k
from tegu.core.calibration.selection.fixed_sequence import run_sequence_test
from tegu.core.calibration.selection.frontier import gain_frontier
from tegu.core.calibration.selection.limits import Limits
from tegu.core.calibration.selection.over_k import monotone_gains, select_over_k
from tegu.core.calibration.selection.path import propose_path


def figures(people: int, gains: list[float], smoothed: list[float] | None = None) -> Figures:
    """Everybody gains the same; nobody is hurt."""
    columns = [
        [gain, gain**2, 0, hurt, 0, gain, 1, gain**2, gain**4]
        for gain, hurt in zip(gains, smoothed or gains, strict=True)
    ]
    return Figures(np.full(len(gains), float(people)), people * np.asarray(columns))


def test_what_one_user_adds() -> None:
    gain = np.asarray([[0.3, 0.1], [-0.2, -0.1], [-0.04, -0.04]])
    sums = figure_sums(gain, np.asarray([1.0, 2.0, 1.0]), np.asarray([0.01, 0.01, 0.01]), 0.05)
    assert sums[[0, 1, 2]] == pytest.approx([0.2 - 0.15 - 0.04, 0.2**2 + 0.15**2 + 0.04**2, 1])
    assert sums[[4, 5, 6]] == pytest.approx([0.19, 0.2, 4.0]), "losses, gains, figures"
    assert sums[[7, 8]] == pytest.approx([sums[1], 0.2**4 + 0.15**4 + 0.04**4]), "squares without noise"
    less = figure_sums(gain, np.ones(3), np.ones(3), 0.05, np.asarray([0.1, -0.2, 0.0]))
    assert less[[7, 8]] == pytest.approx([-0.1, 0.05])
    assert 1 < sums[3] < 1.5, "the second user surely, the third nearly"
    assert np.isnan(figure_sums(gain * np.inf, np.ones(3), np.ones(3), 0.05)).all()


def test_a_path_holds_what_nothing_gentler_beats() -> None:
    proposing = figures(100, [0.3, 0.1, 0.2, 0.25, -0.1, np.nan], [0.5, 0.1, 0.3, 0.2, 0.0, 0.0])
    assert propose_path(proposing, Limits()) == [1, 3, 0], "2 gains less than 3 and hurts more"
    lossy = proposing.sums.copy()
    lossy[3, 4] = 0.3 * lossy[3, 5]
    assert propose_path(proposing._replace(sums=lossy), Limits()) == [1, 3, 0], "noise explains what 3 loses"
    lossy[3, 7] = 100 * lossy[3, 1]
    assert propose_path(proposing._replace(sums=lossy), Limits()) == [1, 2, 0], "3 exceeds the harm ratio"
    assert propose_path(figures(100, [-0.1, 0.0]), Limits()) == []


def test_a_walk_stops_at_the_first_failure() -> None:
    found = run_sequence_test([0, 1, 9, 0], 100, 0.05, 0.9)
    assert found.passed == 2, "what comes after a failure is not tested"
    assert found.first == pytest.approx(1 - 0.1 ** (1 / 100))
    assert [found.bound(place, 4) for place in (0, 1)] == [0.05, 0.05]
    through = run_sequence_test([0, 0, 1], 100, 0.05, 0.9)
    assert through.passed == 3
    assert through.bound(2, 3) == pytest.approx(0.0383, abs=1e-4), "the last may show more than the limit"
    failed = run_sequence_test([6, 0], 100, 0.05, 0.9)
    assert (failed.passed, failed.bound(0, 2)) == (0, pytest.approx(0.1029, abs=1e-4))


def test_neighbours_count_as_twenty_people_at_most() -> None:
    ks, people = [1, 2, 4, 100], np.asarray([500.0, 400.0, 300.0, 200.0])
    weights = neighbour_weights(ks, people, 1)
    assert weights[1] == 1
    assert weights[0] == pytest.approx(weights[2]), "half as many and twice as many"
    others = np.asarray([weights[0], weights[2], weights[3]])
    assert others @ people[[0, 2, 3]] == pytest.approx(20)
    few = neighbour_weights([1, 2], np.asarray([3.0, 5.0]), 0)
    assert few[1] == pytest.approx(np.exp(-0.5)), "five neighbours count as fewer"


def test_pooling_ignores_the_scale_of_gains() -> None:
    """At k = 2 gains are ten times as large and the order is another; fifty people keep their own order."""
    pooled = pool_over_k([1, 2], [figures(50, [0.02, 0.01]), figures(50, [0.1, 0.2])])
    assert pooled[0].gain[0] > pooled[0].gain[1]
    assert pooled[0].people.tolist() == pytest.approx([70, 70])
    alone = pool_over_k([1, 2], [figures(2, [0.02, 0.01]), figures(50, [0.1, 0.2])])
    assert alone[0].gain[0] < alone[0].gain[1], "two people do not"


def test_pooling_leaves_what_is_not_finite() -> None:
    one, other = figures(50, [np.nan, 0.1]), figures(50, [0.2, np.nan])
    pooled = pool_over_k([1, 2], [one, other])
    assert pooled[0].finite.tolist() == [False, True]
    assert pooled[0].gain[1] == pytest.approx(0.1), "of the neighbour nothing is taken"


gains = st.lists(st.floats(-1, 1), min_size=1, max_size=8)


@given(gains, st.data())
def test_gains_that_are_uncertain_never_fall(values: list[float], data: st.DataObject) -> None:
    people = data.draw(st.lists(st.integers(20, 99), min_size=len(values), max_size=len(values)))
    found = monotone_gains(values, [100.0] * len(values), people)
    assert (np.diff(found) >= -1e-12).all()
    assert np.dot(found, people) == pytest.approx(np.dot(values, people), abs=1e-6), "a weighted mean stays"
    pushed = [  # the formula of Robertson, Wright and Dykstra 1988: the largest of the smallest means
        max(
            min(np.average(values[i : j + 1], weights=people[i : j + 1]) for j in range(place, len(values)))
            for i in range(place + 1)
        )
        for place in range(len(values))
    ]
    assert found == pytest.approx(pushed, abs=1e-9)


def test_a_clear_fall_stays() -> None:
    assert monotone_gains([0.1, 0.5, 0.2], [0.1] * 3, [100] * 3) == [0.1, 0.5, 0.2]
    assert monotone_gains([0.1, 0.5, 0.2], [0.1] * 3, [100, 100, 10]) != [0.1, 0.5, 0.2], "ten people show nothing"


def test_where_nobody_proposes_a_path_that_was_fixed_is_tested() -> None:
    nobody, testing = figures(0, [0.0, 0.0]), figures(50, [0.1, 0.3])
    found = select_over_k([1, 5], [nobody] * 2, [testing] * 2, Limits(), [0])
    assert [each.candidate for each in found] == [0, 0]
    assert [each.gain for each in found] == pytest.approx([0.1, 0.1])
    assert [each.harm.bound for each in found] == pytest.approx([1 - 0.1 ** (1 / 50)] * 2), "as for any path"
    assert [each.candidate for each in select_over_k([1], [nobody], [testing], Limits())] == [None]
    harmful = figures(50, [-0.1, 0.3])
    assert [each.candidate for each in select_over_k([1], [nobody], [harmful], Limits(), [0])] == [None]


def test_where_nobody_proposes_at_one_k_its_neighbours_do() -> None:
    proposing = [figures(30, [0.1, 0.3]), figures(0, [0.0, 0.0])]
    found = select_over_k([5, 10], proposing, [figures(50, [0.1, 0.3]), figures(3, [0.1, 0.3])], Limits(), [0])
    assert [each.candidate for each in found] == [1, 1]


def test_a_frontier_takes_both_halves() -> None:
    some, nobody = figures(20, [0.1]), figures(0, [0.0])
    assert gain_frontier(some, nobody, Limits()) == gain_frontier(nobody, some, Limits()) == ()
    assert gain_frontier(some, some, Limits())[0].gain == pytest.approx(0.1)


def test_a_candidate_that_diverges_at_one_k_leaves_the_others_as_they_are() -> None:
    gentle, spoilt = figures(80, [0.1, 0.2, 0.3]), figures(80, [0.05, -1e6, -1e9])
    pooled = pool_over_k([1, 5], [spoilt, gentle])
    assert pooled[0].gain[0] == pytest.approx(0.05), "the gain of 5 halved, for that of 1 is half as large"
    assert pooled[1].gain == pytest.approx([0.1, 0.2, 0.3], rel=1e-4)
    found = select_over_k([1, 5], [spoilt, gentle], [spoilt, gentle], Limits())
    assert [each.candidate for each in found] == [0, 2]


def test_a_neighbours_unusual_losses_count_by_their_inverse_variance() -> None:
    own, neighbour = figures(50, [0.1, 0.1, 0.1]), figures(50, [0.1, 0.1, -0.6])
    pooled = pool_over_k([1, 2], [own, neighbour])[0]
    weight = 20 * (3 * 0.1 / 0.6) ** 2
    assert pooled.people.tolist() == pytest.approx([70, 70, 50 + weight])
    assert pooled.gain[2] == pytest.approx((50 * 0.1 - weight * 0.6) / (50 + weight))


def test_gains_that_are_rounding_errors_do_not_decide_how_neighbours_are_scaled() -> None:
    """A node rounds its answer to float32, so that its sign is chance for candidates that change nothing."""
    neighbour = figures(50, [0.4, 0.4, *[1e-8] * 5])
    for noise in ([1e-9] * 5, [-1e-9] * 5):
        pooled = pool_over_k([1, 2], [figures(50, [0.1, 0.2, *noise]), neighbour])[0]
        scaled = 0.4 * (0.1 / 0.4 + 0.2 / 0.4) / 2
        assert pooled.gain[:2] == pytest.approx([(50 * 0.1 + 20 * scaled) / 70, (50 * 0.2 + 20 * scaled) / 70])
