"""Which of a user's rows belong together, so that support and query share no information.

Rows with the same input (the same item id, or the same bytes of `x`) and rows of one group (a session, a day) form one
*unit*. A unit never lies in both support and query. Where rows have an order in time, rows with the same order value
form one *moment*; a group that spans several moments joins them into one.

Where a user gives equally many examples of each label (N-way K-shot), a unit counts once, with its first row's label.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.users import LocalUser
from tegu.core.errors import DataError
from tegu.core.sampling.keyed_random import splitmix

__all__ = ["RowUnits", "find_row_units", "row_units_of", "units_of_user"]

_BLOCK_WORDS = 1 << 16  # hashed at once: few enough for the cache


class RowUnits(NamedTuple):
    """The units of users whose rows are stored one user after the other.

    Row positions are counted from a user's first row.

    Attributes:
        max_support: int64 `[users]`, rows of the largest support that leaves at least one query row; 0 where there is
            none.
        has_units: bool `[users]`, whether some rows of the user must stay together, or the rows have an order.
        unit: int64 `[rows]`, the position of the first row of the same unit. With an order, the position of the first
            row with the same input.
        time_order: int64 `[rows]`, row positions sorted by time; None without an order.
        max_support_at: int64 `[rows]`, rows of the largest support that ends just before this position of `time_order`
            and leaves at least one query row; 0 inside a moment. None without an order.
        label: int64 `[rows]`, the label of each row, where a support holds equally many rows of each; otherwise None.
        labels: int64 `[users]`, the number of each user's labels; None without `label`.
    """

    max_support: Array
    has_units: Array
    unit: Array
    time_order: Array | None = None
    max_support_at: Array | None = None
    label: Array | None = None
    labels: Array | None = None

    def split(self, counts: Array) -> list[RowUnits]:
        """One `RowUnits` per user.

        Args:
            counts: int64 `[users]`, rows of each user.
        """
        ends = np.cumsum(counts)[:-1]
        max_support, has_units = (list(users[:, None]) for users in (self.max_support, self.has_units))
        unit = np.split(self.unit, ends)
        if self.label is not None and self.labels is not None:
            by_user = zip(max_support, has_units, unit, np.split(self.label, ends), self.labels[:, None], strict=True)
            return [RowUnits(*own[:3], label=own[3], labels=own[4]) for own in by_user]
        if self.time_order is None or self.max_support_at is None:
            return [RowUnits(*own) for own in zip(max_support, has_units, unit, strict=True)]
        order, support = np.split(self.time_order, ends), np.split(self.max_support_at, ends)
        return [RowUnits(*own) for own in zip(max_support, has_units, unit, order, support, strict=True)]


def row_units_of(
    x: Array, group: Array | None = None, order: Array | None = None, label: Array | None = None
) -> RowUnits:
    """The units of one user's rows; arguments as in `find_row_units`."""
    return find_row_units(x, np.asarray([len(x)]), group, order, label)


def units_of_user(user: LocalUser) -> RowUnits:
    """The units of a user's rows, as a device stores them."""
    return row_units_of(user.x, user.group, user.order, user.y if user.balanced else None)


def find_row_units(
    x: Array, counts: Array, group: Array | None = None, order: Array | None = None, label: Array | None = None
) -> RowUnits:
    """The units of many users' rows.

    Args:
        x: `[rows, ...]`, one user after the other, as `check_rows` returns them.
        counts: int64 `[users]`, rows of each user.
        group: `[rows]`; equal entries within a user keep rows together.
        order: `[rows]`, the time of each row.
        label: int64 `[rows]`, where supports are to hold equally many rows of each of a user's labels.

    Raises:
        DataError: there are both an order and labels to balance.
    """
    if order is not None and label is not None:
        raise DataError(
            "rows have an order, and supports are to hold equally many rows of each label: expected one of the two, "
            "since the rows before a moment are not balanced; leave out order, or balanced"
        )
    users = np.arange(len(counts))
    user, begin = np.repeat(users, counts), np.repeat(np.cumsum(counts) - counts, counts)
    same_input = _first(user, _fingerprints(x))
    if order is not None:
        time_order, max_support_at = _in_time(user, begin, same_input, group, order)
        max_support = np.zeros(len(counts), np.int64)
        np.maximum.at(max_support, user, max_support_at)
        has_units = np.ones(len(counts), bool)
        return RowUnits(max_support, has_units, same_input - begin, time_order - begin, max_support_at)
    unit = same_input if group is None else _joined(same_input, _first(user, group))
    smallest = counts.astype(np.int64)
    np.minimum.at(smallest, user, np.bincount(unit, minlength=len(x))[unit])
    if label is not None:
        labels, fewest = _units_of_labels(user, label, unit == np.arange(len(x)), len(counts))
        largest = labels * np.maximum(fewest - 1, 0)  # a unit of each label is left for the query
        return RowUnits(largest, np.ones(len(counts), bool), unit - begin, label=label.astype(np.int64), labels=labels)
    has_units = np.bincount(user[unit != np.arange(len(x))], minlength=len(counts)) > 0
    return RowUnits(counts - smallest, has_units, unit - begin)


def _units_of_labels(user: Array, label: Array, begins: Array, users: int) -> tuple[Array, Array]:
    """Each user's number of labels, and its label's number of units that has the fewest; int64 `[users]` each.

    Args:
        user: int64 `[rows]`.
        label: `[rows]`.
        begins: bool `[rows]`, whether the row is the first of its unit.
        users: number of users.
    """
    pair = _first(user, label)
    each = np.flatnonzero(pair == np.arange(len(pair)))
    units = np.bincount(pair[begins], minlength=len(pair))[each]
    fewest = np.full(users, len(pair), np.int64)
    np.minimum.at(fewest, user[each], units)
    return np.bincount(user[each], minlength=users), fewest


def _fingerprints(x: Array) -> Array:
    """uint64 `[rows]`: equal rows have equal fingerprints. Rows that collide by chance only stay together."""
    width = int(np.prod(x.shape[1:]))
    words = np.ascontiguousarray(x).reshape(len(x), width).view(f"u{x.itemsize}")
    if width == 1:
        return words[:, 0].astype(np.uint64)
    places, step = np.arange(width, dtype=np.uint64), max(1, _BLOCK_WORDS // width)
    parts = (words[start : start + step].astype(np.uint64) for start in range(0, max(1, len(x)), step))
    return np.concatenate([splitmix(part, places).sum(1, dtype=np.uint64) for part in parts])


def _first(user: Array, key: Array) -> Array:
    """int64 `[rows]`: the first row of the same user with the same key."""
    ordered = np.lexsort((key, user))
    begins = np.ones(len(key), bool)
    begins[1:] = (np.diff(user[ordered]) != 0) | (key[ordered][1:] != key[ordered][:-1])
    first = np.empty_like(ordered)
    first[ordered] = ordered[np.maximum.accumulate(np.where(begins, np.arange(len(key)), 0))]
    return first


def _last(user: Array, key: Array) -> Array:
    """int64 `[rows]`: the last row of the same user with the same key."""
    return len(key) - 1 - _first(user[::-1], key[::-1])[::-1]


def _joined(first: Array, second: Array) -> Array:
    """int64 `[rows]`: the first row of each connected component, rows being connected by equal labels of either kind.

    Both labellings name rows, as `_first` does.
    """
    unit = np.arange(len(first))
    while True:
        parent = np.arange(len(first))
        for label in (first, second):
            lowest = np.full(len(first), len(first))
            np.minimum.at(lowest, label, unit)
            np.minimum.at(parent, unit, lowest[label])
        while not np.array_equal(parent, parent[parent]):
            parent = parent[parent]
        if np.array_equal(unit, parent[unit]):
            return unit
        unit = parent[unit]


def _in_time(user: Array, begin: Array, same_input: Array, group: Array | None, order: Array) -> tuple[Array, Array]:
    """`RowUnits.time_order`, with positions counted from the very first row, and `RowUnits.max_support_at`."""
    time_order, position = np.lexsort((order, user)), np.arange(len(user))
    moment_end = _last(user, order[time_order])
    if group is not None:
        moment_end = np.maximum(moment_end, _last(user, group[time_order]))
    between_moments = np.zeros(len(user), bool)
    between_moments[1:] = np.maximum.accumulate(moment_end)[:-1] < position[1:]
    max_support_at = _max_support_at(user, begin, same_input[time_order])
    return time_order, np.where(between_moments, max_support_at, 0)


def _max_support_at(user: Array, begin: Array, same_input: Array) -> Array:
    """Rows of the largest support that ends before each position and leaves an unseen input from there on."""
    position = np.arange(len(user))
    by_input = np.argsort(same_input, kind="stable")
    repeated = same_input[by_input][1:] == same_input[by_input][:-1]
    next_same = np.full(len(user), -1)  # the next position with the same input
    next_same[by_input[:-1][repeated]] = by_input[1:][repeated]
    new = np.ones(len(user), bool)
    new[by_input[1:][repeated]] = False
    last_new = np.full(int(user.max(initial=0)) + 1, -1)
    np.maximum.at(last_new, user[new], position[new])
    # The first position whose input recurs at or after this one. A support that begins after it leaves that as query.
    earliest = np.searchsorted(np.maximum.accumulate(next_same), position)
    return np.where(position <= last_new[user], position - begin, np.maximum(position - 1 - earliest, 0))
