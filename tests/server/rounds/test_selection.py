"""Whom a round asks, how long a node sits out, and when a round closes: pure functions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tegu.server.rounds.closing import is_closed
from tegu.server.rounds.reliability import MOST_ROUNDS_OUT, Failures, after_round, from_records, sits_out
from tegu.server.rounds.selection import candidates, draw_nodes, how_many


@pytest.mark.parametrize(
    ("answered", "outstanding", "seconds", "closed"),
    [
        (2, 3, 5.0, False),
        (3, 2, 5.0, True),
        (4, 0, 0.0, True),
        (1, 0, 5.0, True),
        (0, 9, 10.0, True),
        (0, 9, 9.9, False),
    ],
)
def test_a_round_closes_when_it_has_enough_or_nobody_is_left_or_the_time_is_up(
    answered: int, outstanding: int, seconds: float, closed: bool
) -> None:
    assert is_closed(answered, outstanding, 3, seconds, 10.0) is closed


@pytest.mark.parametrize(("wanted", "factor", "asked"), [(10, 1.3, 13), (3, 1.3, 4), (3, 1.0, 3), (100, 1.1, 110)])
def test_more_nodes_are_asked_than_are_wanted(wanted: int, factor: float, asked: int) -> None:
    assert how_many(wanted, factor) == asked


def rounds_out(failures: int) -> int:
    """How many rounds in succession a node is not asked after so many failures, counted one by one."""
    reliability = {7: Failures(failures, 100)}
    return next(number for number in range(101, 1000) if not sits_out(reliability, 7, number)) - 101


def test_a_node_sits_out_longer_each_time_it_fails() -> None:
    assert [rounds_out(failures) for failures in (1, 2, 3, 4, 5, 6, 60)] == [1, 3, 7, 15, 31, 31, 31]
    assert MOST_ROUNDS_OUT == 31


def test_an_answer_ends_that() -> None:
    found = after_round({}, 4, {1}, {2, 3})
    assert found == {2: Failures(1, 4), 3: Failures(1, 4)}
    assert after_round(found, 6, {2}, {3}) == {3: Failures(2, 6)}
    assert after_round(found, 6, {1}, set()) == found


def test_a_resumed_run_knows_who_has_failed() -> None:
    """The records are those of `rounds.json`, and say the same as counting along."""
    records = [
        {"round": 1, "nodes": ["1"], "failed": [{"node": "2"}], "refused": [{"node": "3"}], "late": ["4"]},
        {"round": 2, "nodes": ["1", "3"], "failed": [], "refused": [{"node": "3"}], "late": ["4"]},
    ]
    expected = after_round(after_round({}, 1, {1}, {2, 3, 4}), 2, {1, 3}, {4})
    assert from_records(records) == expected == {2: Failures(1, 1), 4: Failures(2, 2)}


def test_who_sits_out_is_asked_only_where_the_others_are_too_few() -> None:
    reliability = {3: Failures(1, 9), 4: Failures(3, 9), 5: Failures(2, 9)}
    connected = range(1, 7)
    assert candidates(connected, reliability, 10, 2) == [1, 2, 6]
    assert candidates(connected, reliability, 10, 4) == [1, 2, 3, 6]
    assert candidates(connected, reliability, 10, 5) == [1, 2, 3, 5, 6]
    assert candidates(connected, reliability, 10, 99) == [1, 2, 3, 4, 5, 6]
    assert candidates(connected, reliability, 11, 2) == [1, 2, 3, 6], "node 3 has sat out its round"
    assert candidates(connected, {}, 11, 2, busy={1, 6}) == [2, 3, 4, 5]


@given(st.lists(st.integers(1, 2**60), unique=True, max_size=30), st.integers(0, 40), st.integers(1, 5))
def test_a_draw_is_repeated_by_its_keys(nodes: list[int], size: int, attempt: int) -> None:
    drawn = draw_nodes(sorted(nodes), size, 3, 7, attempt)
    assert drawn == draw_nodes(sorted(nodes), size, 3, 7, attempt)
    assert drawn == sorted(set(drawn) & set(nodes))
    assert len(drawn) == min(size, len(nodes))


def test_every_node_is_drawn_equally_often_in_later_attempts_too() -> None:
    nodes = list(range(10))
    for attempt in (1, 2):
        counts = np.bincount(np.concatenate([draw_nodes(nodes, 3, 0, n, attempt) for n in range(1, 401)]), minlength=10)
        expected, spread = 120, math.sqrt(400 * 0.3 * 0.7)
        assert abs(counts - expected).max() < 4 * spread
    assert draw_nodes(nodes, 3, 0, 1, 1) != draw_nodes(nodes, 3, 0, 1, 2)
