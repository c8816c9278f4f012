"""Splitting one user's rows into support and query, the same way on a device and in a simulation.

The split depends on `(seed, round, user)` alone, so every backend draws the same one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tegu.core.data.batch import Array, NumpyBatch, full_batch
from tegu.core.errors import DataError, PopulationError
from tegu.core.sampling.keyed_random import draw_noise, keyed_rng, splitmix
from tegu.core.sampling.leakage import RowUnits, row_units_of
from tegu.core.scalars import whole_number

__all__ = [
    "Episode",
    "EpisodeRule",
    "draw_episode",
    "draw_order",
    "draw_sizes",
    "draw_users",
    "episode_key",
    "episode_keys",
    "episode_noise",
    "shortage_message",
    "split_rows",
]

_NAME_KEY = np.asarray([0x74656775], np.uint64)  # arbitrary, but the same everywhere


class Episode(NamedTuple):
    """Disjoint rows of one user: the support to adapt on, and the query to evaluate on."""

    support: NumpyBatch
    query: NumpyBatch


@dataclass(frozen=True)
class EpisodeRule:
    """Sizes of support and query in training.

    Attributes:
        min_support: smallest support.
        max_support: largest support. The size is uniform between the two and leaves at least one query row. For users
            whose supports hold K rows of each of N labels, it is N times a K that is uniform in this range.
        max_query: largest query.
    """

    min_support: int = 1
    max_support: int = 64
    max_query: int = 64

    def __post_init__(self) -> None:
        for name in ("min_support", "max_support", "max_query"):
            object.__setattr__(self, name, whole_number(name, getattr(self, name)))
        if not 1 <= self.min_support <= self.max_support or self.max_query < 1:
            raise DataError(f"{self}: expected 1 <= min_support <= max_support and max_query >= 1")


def episode_noise(length: int, keys: Array) -> Array:
    """The noise of each user's update, float32 `[users, length]`.

    Args:
        length: the learner's `noise`.
        keys: uint64 `[users]`, from `episode_keys`: seed, round and user determine the draw.
    """
    drawn = [draw_noise(length, "episode", int(key)) for key in keys] if length else []
    return np.asarray(drawn, np.float32).reshape(len(keys), length)


def draw_users(population: int, users: int, seed: int, round_number: int) -> Array:
    """Indices of the users in a round's cohort, int64, ascending.

    Args:
        population: number of users to draw from.
        users: number of users to draw; 0 for all of them.
        seed: of the run.
        round_number: from 1.
    """
    if not 0 < users < population:
        return np.arange(population)
    return np.sort(keyed_rng(seed, "cohort", round_number).choice(population, users, replace=False))


def episode_key(seed: int, round_number: int, user: str) -> int:
    """The 64-bit key that determines a user's episode in a round."""
    return int(episode_keys(seed, round_number, np.asarray([user]))[0])


def episode_keys(seed: int, round_number: int, users: Array) -> Array:
    """The `episode_key` of each user, uint64 `[users]`.

    A name's hash is the sum of its letters, each multiplied by a random number for its position (multilinear hashing,
    Carter and Wegman 1979). Two names collide as rarely as two random keys. Other names in the array have no effect.

    Args:
        seed: of the run.
        round_number: from 1.
        users: names, `[users]`.
    """
    names = np.ascontiguousarray(users, np.str_)
    letters = names.view(np.uint32).reshape(len(names), names.dtype.itemsize // 4).astype(np.uint64)
    hashed = (letters * splitmix(_NAME_KEY, np.arange(letters.shape[1], dtype=np.uint64))).sum(1, dtype=np.uint64)
    run = splitmix(np.asarray([seed % 2**64], np.uint64), np.asarray([round_number], np.uint64))
    return splitmix(hashed ^ run, np.uint64(0))


def draw_sizes(counts: Array, keys: Array, rule: EpisodeRule, labels: Array | None = None) -> tuple[Array, Array]:
    """Sizes of support and query, int64 `[users]` each.

    Args:
        counts: `[users]`, rows of each user, or one more than its largest support; above `rule.min_support`.
        keys: uint64 `[users]`, from `episode_key`.
        rule: sizes of support and query.
        labels: int64 `[users]`, `RowUnits.labels`: a support is a multiple of it. None for a support of any size.
    """
    step = 1 if labels is None else labels
    least = -(-rule.min_support // step)
    choices = np.maximum(np.minimum(rule.max_support, counts - 1) // step - least + 1, 1)
    uniform = (splitmix(keys, np.uint64(0)) >> np.uint64(11)) * 2.0**-53  # in [0, 1)
    support = step * (least + (uniform * choices).astype(np.int64))
    return support, np.minimum(rule.max_query, counts - support)


def draw_order(counts: Array, keys: Array) -> Array:
    """A random order of each user's rows, int64 `[users, max(counts)]`; entries beyond a user's count are undefined."""
    positions = np.arange(int(counts.max(initial=0)), dtype=np.uint64)
    ranks = splitmix(keys[:, None], positions + np.uint64(1))
    ranks[positions >= counts[:, None]] = np.iinfo(np.uint64).max
    return ranks.argsort(axis=1, kind="stable")


def split_rows(order: Array, support: int, units: RowUnits | None = None) -> tuple[Array, Array]:
    """Positions of the support rows and of all remaining query rows; no unit is in both.

    Without an order in time, whole units are taken in random order. Where the support ends inside a unit, the rest of
    that unit is left out. With an order in time, a moment is drawn at random, and the support is the rows just before
    it. Later rows whose input occurs in the support are left out.

    Where a support is to hold equally many rows of each label, it takes one row of each label in turn, from units that
    it has not taken yet. The rest of these units is left out.

    Args:
        order: int64 `[rows]`, a random order of the user's rows.
        support: number of support rows, at most `units.max_support`. For N labels, N K rows hold K of each.
        units: of the user's rows; None where all rows are independent.
    """
    if units is None:
        return order[:support], order[support:]
    if units.label is not None:
        chosen = _label_by_label(order, units.unit, units.label)[:support]
        return chosen, order[~np.isin(units.unit[order], units.unit[chosen])]
    if units.time_order is None or units.max_support_at is None:
        ordered, end = _unit_by_unit(order, support, units.unit), support
    else:
        ordered, end = units.time_order, int(order[units.max_support_at[order] >= support][0])
    chosen, later = ordered[end - support : end], ordered[end:]
    in_support = np.zeros(len(order), bool)
    in_support[units.unit[chosen]] = True
    return chosen, later[~in_support[units.unit[later]]]


def _unit_by_unit(order: Array, support: int, unit: Array) -> Array:
    """Rows grouped by unit, units in the order of their first rows; the last unit begins after the support."""
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    grouped = np.lexsort((rank, rank[unit]))
    fitting = grouped[np.bincount(unit)[unit[grouped]] <= len(grouped) - support]
    last = unit[grouped] == unit[fitting[-1]]
    return np.concatenate([grouped[~last], grouped[last]])


def _label_by_label(order: Array, unit: Array, label: Array) -> Array:
    """The first row of each unit: one of each label, then a second one of each, and so on; otherwise as in `order`."""
    rows = order[unit[order] == order]
    by_label = np.argsort(label[rows], kind="stable")
    ordered = label[rows][by_label]
    turn = np.empty_like(rows)
    turn[by_label] = np.arange(len(rows)) - np.searchsorted(ordered, ordered)
    in_turn: Array = rows[np.argsort(turn, kind="stable")]
    return in_turn


def draw_episode(x: Array, y: Array, rule: EpisodeRule, key: int, units: RowUnits | None = None) -> Episode:
    """A random support and query of one user, equal to what drawing a whole cohort gives that user.

    Args:
        x: `[rows, ...]`.
        y: `[rows, ...]`.
        rule: sizes of support and query.
        key: from `episode_key`.
        units: which rows belong together; by default rows with equal x.

    Raises:
        PopulationError: the rows leave no support of `rule.min_support` with a query row beside it.
    """
    units = row_units_of(x) if units is None else units
    max_support = int(units.max_support[0])
    if max_support < rule.min_support:
        shortage = shortage_message(len(x), max_support, rule.min_support)
        raise PopulationError(f"a user has {shortage}; leave such users out")
    counts, keys = np.asarray([len(x)]), np.asarray([key], np.uint64)
    (support,), _ = draw_sizes(units.max_support + 1, keys, rule, units.labels)
    (order,) = draw_order(counts, keys)
    chosen, held = split_rows(order, int(support), units)
    held = held[: rule.max_query]
    return Episode(full_batch(x[chosen], y[chosen]), full_batch(x[held], y[held]))


def shortage_message(rows: int, max_support: int, min_support: int) -> str:
    """Explains that a user's largest support is too small.

    Args:
        rows: rows of the user.
        max_support: rows of the user's largest support.
        min_support: rows that a support needs.
    """
    expected = f"expected at least {min_support + 1}, {min_support} to adapt on and one to evaluate on"
    if max_support == rows - 1:
        return f"{rows} row{'' if rows == 1 else 's'}: {expected}"
    return (
        f"{rows} rows, of which at most {max_support} can be adapted on, because rows with equal x, group or order "
        f"stay together, and where labels are balanced each keeps a row to evaluate on: {expected}"
    )
