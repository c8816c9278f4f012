"""What belongs together, and how large a support it leaves room for, against a search through all possibilities."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.people import Rows, leaks, user_rows
from tests.core.samples import same_array

from tegu.core.sampling.leakage import find_row_units, row_units_of


def components(rows: Rows) -> list[int]:
    """The first row of everything that is connected by equal x or equal group, by walking from row to row."""
    first = [-1] * len(rows.x)
    for start in range(len(rows.x)):
        waiting = [start] if first[start] < 0 else []
        while waiting:
            row = waiting.pop()
            first[row] = start
            waiting += [
                other
                for other in range(len(rows.x))
                if first[other] < 0
                and (
                    rows.x[row].tobytes() == rows.x[other].tobytes()
                    or (rows.group is not None and rows.group[row] == rows.group[other])
                )
            ]
    return first


@given(user_rows(order=False))
@settings(deadline=None, max_examples=200)
def test_units_are_what_equal_inputs_and_groups_connect(rows: Rows) -> None:
    ties, expected = rows.ties, components(rows)
    assert ties.unit.tolist() == expected
    smallest = min(expected.count(unit) for unit in expected)
    assert ties.max_support.tolist() == [len(rows.x) - smallest]
    assert ties.has_units.tolist() == [len(set(expected)) < len(expected)]
    assert (ties.time_order, ties.max_support_at) == (None, None)


def largest(rows: Rows, line: list[int], end: int) -> int:
    """Rows of the largest support that ends before `end` and leaves something to judge by; every size is tried."""
    before, after = line[:end], line[end:]
    if not before or leaks(rows._replace(x=np.arange(len(rows.x))), before, after):
        return 0
    seen = [{rows.x[row].tobytes() for row in before[end - size :]} for size in range(end + 1)]
    return max(
        size for size in range(end + 1) if any(rows.x[row].tobytes() not in seen[size] for row in after) or not size
    )


@given(user_rows(order=True))
@settings(deadline=None, max_examples=300)
def test_a_support_in_time_has_the_room_that_a_search_finds(rows: Rows) -> None:
    assert rows.order is not None
    ties, line = rows.ties, sorted(range(len(rows.x)), key=lambda row: rows.order[row])  # type: ignore[index]
    assert ties.time_order is not None
    assert ties.max_support_at is not None
    assert ties.time_order.tolist() == line
    expected = [largest(rows, line, end) for end in range(len(line))]
    assert ties.max_support_at.tolist() == expected
    assert ties.max_support.tolist() == [max(expected)]
    assert ties.has_units.tolist() == [True]


@given(st.lists(user_rows(True, True, pictures=True), min_size=1, max_size=5), st.booleans(), st.booleans())
@settings(deadline=None)
def test_many_users_have_what_each_has_alone(people: list[Rows], grouped: bool, timed: bool) -> None:
    own = [Rows(x, group if grouped else None, order if timed else None) for x, group, order in people]
    x, group, order = (None if rows[0] is None else np.concatenate(rows) for rows in zip(*own, strict=True))  # type: ignore[arg-type]
    assert x is not None
    counts = np.asarray([len(each.x) for each in own])
    for found, alone in zip(find_row_units(x, counts, group, order).split(counts), own, strict=True):
        for first, second in zip(found, alone.ties, strict=True):
            assert (first is second is None) or same_array(first, second)


def test_equal_is_equal_in_every_byte() -> None:
    """Rows that differ in one number anywhere, in the sign of zero, or in two numbers changed about."""
    zeros = np.zeros((4, 100), np.float32)
    zeros[1, 57], zeros[2, 99], zeros[3, 3] = 1e-45, -0.0, 5
    swapped = zeros[[3, 3]]
    swapped[0, [3, 4]] = swapped[0, [4, 3]]
    x = np.concatenate([zeros, swapped])
    assert row_units_of(x).unit.tolist() == [0, 1, 2, 3, 4, 3]


def test_a_million_rows_that_differ_are_a_million_units() -> None:
    """Bits in few places, as of pictures in black and white: fingerprints have to keep them apart."""
    bits = (np.arange(1 << 20)[:, None] >> np.arange(20) & 1).astype(np.float32)
    assert not find_row_units(bits, np.asarray([len(bits)])).has_units.any()


def test_nobody_and_users_without_rows_have_no_ties() -> None:
    for timed in (None, np.zeros(0, np.int64)):
        none = find_row_units(np.zeros((0, 3), np.float32), np.zeros(3, np.int64), None, timed)
        assert none.max_support.tolist() == [0, 0, 0]
    assert len(find_row_units(np.zeros((0, 3), np.float32), np.zeros(0, np.int64)).max_support) == 0
