"""Which of a user's rows belong together: one of them to adapt on and another to judge by would be a leak.

Rows with the same input (item id, or bytes of `x`) and rows of one group (a session, a day) are one *unit*. Where rows
have an order, those of the same value are one *moment*, and moments that a group spans are one too.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.sampling.keyed_random import splitmix

__all__ = ["RowUnits", "find_row_units", "row_units_of"]

_WORDS = 1 << 16  # mixed at once: few enough for the cache


class RowUnits(NamedTuple):
    """Of users whose rows stand one user after the other; places are counted from a user's first row.

    Attributes:
        most: int64 `[users]`, rows of the largest support that leaves one to judge by; 0 where there is none.
        tied: bool `[users]`, whether a user's rows may not be parted anywhere.
        unit: int64 `[rows]`, the place of the first row that belongs together with this one; with an order, the first
            with the same input.
        line: int64 `[rows]`, the places in time; None without an order.
        room: int64 `[rows]`, rows of the largest support that ends just before this place of `line` and leaves one to
            judge by, 0 within a moment; None without an order.
    """

    most: Array
    tied: Array
    unit: Array
    line: Array | None = None
    room: Array | None = None

    def each(self, counts: Array) -> list[RowUnits]:
        """Every user's own, from the rows of each."""
        ends = np.cumsum(counts)[:-1]
        most, tied = (list(users[:, None]) for users in (self.most, self.tied))
        unit = np.split(self.unit, ends)
        if self.line is None or self.room is None:
            return [RowUnits(*own) for own in zip(most, tied, unit, strict=True)]
        line, room = np.split(self.line, ends), np.split(self.room, ends)
        return [RowUnits(*own) for own in zip(most, tied, unit, line, room, strict=True)]


def row_units_of(x: Array, group: Array | None = None, order: Array | None = None) -> RowUnits:
    """Of one user; as `find_row_units`."""
    return find_row_units(x, np.asarray([len(x)]), group, order)


def find_row_units(x: Array, counts: Array, group: Array | None = None, order: Array | None = None) -> RowUnits:
    """What belongs together.

    Args:
        x: `[rows, ...]`, one user after the other, as `check_rows` gives them.
        counts: int64 `[users]`, rows of each user.
        group: `[rows]`, whose equal entries within a user keep rows together.
        order: `[rows]`, when each row was.
    """
    users = np.arange(len(counts))
    user, begin = np.repeat(users, counts), np.repeat(np.cumsum(counts) - counts, counts)
    alike = _first(user, _fingerprints(x))
    if order is not None:
        line, room = _in_time(user, begin, alike, group, order)
        most = np.zeros(len(counts), np.int64)
        np.maximum.at(most, user, room)
        return RowUnits(most, np.ones(len(counts), bool), alike - begin, line - begin, room)
    unit = alike if group is None else _joined(alike, _first(user, group))
    smallest = counts.astype(np.int64)
    np.minimum.at(smallest, user, np.bincount(unit, minlength=len(x))[unit])
    tied = np.bincount(user[unit != np.arange(len(x))], minlength=len(counts)) > 0
    return RowUnits(counts - smallest, tied, unit - begin)


def _fingerprints(x: Array) -> Array:
    """uint64 `[rows]`, equal for equal bytes; different rows that share one by chance are kept together, no more."""
    width = int(np.prod(x.shape[1:]))
    words = np.ascontiguousarray(x).reshape(len(x), width).view(f"u{x.itemsize}")
    if width == 1:
        return words[:, 0].astype(np.uint64)
    places, step = np.arange(width, dtype=np.uint64), max(1, _WORDS // width)
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
    """The first row of all that are connected through equal entries of either; both name rows, as `_first` does."""
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


def _in_time(user: Array, begin: Array, alike: Array, group: Array | None, order: Array) -> tuple[Array, Array]:
    """See `RowUnits.line` and `RowUnits.room`; places of `line` are counted from the first row of all."""
    line, place = np.lexsort((order, user)), np.arange(len(user))
    until = _last(user, order[line])
    if group is not None:
        until = np.maximum(until, _last(user, group[line]))
    ended = np.zeros(len(user), bool)
    ended[1:] = np.maximum.accumulate(until)[:-1] < place[1:]
    room = _room(user, begin, alike[line])
    return line, np.where(ended, room, 0)


def _room(user: Array, begin: Array, alike: Array) -> Array:
    """Rows of the largest support that ends before each place and holds not every input seen from there on."""
    place = np.arange(len(user))
    ordered = np.argsort(alike, kind="stable")
    again = alike[ordered][1:] == alike[ordered][:-1]
    following = np.full(len(user), -1)  # where the same input is next
    following[ordered[:-1][again]] = ordered[1:][again]
    new = np.ones(len(user), bool)
    new[ordered[1:][again]] = False
    newest = np.full(int(user.max(initial=0)) + 1, -1)
    np.maximum.at(newest, user[new], place[new])
    # The first place whose input is seen again from here on: a support that begins after it leaves that to judge by.
    earliest = np.searchsorted(np.maximum.accumulate(following), place)
    return np.where(place <= newest[user], place - begin, np.maximum(place - 1 - earliest, 0))
