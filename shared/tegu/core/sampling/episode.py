"""Splitting one user's rows into support and query, the same on a device and in a simulation.

The split depends on `(seed, round, user)` alone, so every substrate that runs a round draws the same one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tegu.core.data.batch import Array, NumpyBatch, full_batch
from tegu.core.errors import DataError, PopulationError
from tegu.core.sampling.keyed_random import keyed_rng, splitmix
from tegu.core.sampling.leakage import RowUnits, row_units_of

__all__ = [
    "Episode",
    "EpisodeRule",
    "draw_episode",
    "draw_order",
    "draw_sizes",
    "draw_users",
    "episode_key",
    "episode_keys",
    "shortage_message",
    "split_rows",
]

_NAMES = np.asarray([0x74656775], np.uint64)  # any number does, the same everywhere


class Episode(NamedTuple):
    """Disjoint rows of one user: what the model adapts on, and what it is judged on."""

    support: NumpyBatch
    query: NumpyBatch


@dataclass(frozen=True)
class EpisodeRule:
    """How much of a user becomes support and query in training.

    Attributes:
        min_support: the smallest support drawn.
        max_support: the largest; the size is uniform between the two, and leaves at least one query row.
        max_query: at most so many query rows.
    """

    min_support: int = 1
    max_support: int = 64
    max_query: int = 64

    def __post_init__(self) -> None:
        if not 1 <= self.min_support <= self.max_support or self.max_query < 1:
            raise DataError(f"{self}: expected 1 <= min_support <= max_support and max_query >= 1")


def draw_users(population: int, users: int, seed: int, round_number: int) -> Array:
    """Places of the users that take part in a round, int64, ascending: `users` of `population`, or all for 0."""
    if not 0 < users < population:
        return np.arange(population)
    return np.sort(keyed_rng(seed, "cohort", round_number).choice(population, users, replace=False))


def episode_key(seed: int, round_number: int, user: str) -> int:
    """What decides a user's episode in a round: 64 bits."""
    return int(episode_keys(seed, round_number, np.asarray([user]))[0])


def episode_keys(seed: int, round_number: int, users: Array) -> Array:
    """The `episode_key` of each, uint64 `[users]`.

    A name's letters, each times a random number of its place, are added up (multilinear hashing, Carter and Wegman
    1979): two names share a key as rarely as random ones would, however long the array's other names are.

    Args:
        seed: of the run.
        round_number: from 1.
        users: their names, `[users]`.
    """
    names = np.ascontiguousarray(users, np.str_)
    letters = names.view(np.uint32).reshape(len(names), names.dtype.itemsize // 4).astype(np.uint64)
    hashed = (letters * splitmix(_NAMES, np.arange(letters.shape[1], dtype=np.uint64))).sum(1, dtype=np.uint64)
    run = splitmix(np.asarray([seed % 2**64], np.uint64), np.asarray([round_number], np.uint64))
    return splitmix(hashed ^ run, np.uint64(0))


def draw_sizes(counts: Array, keys: Array, rule: EpisodeRule) -> tuple[Array, Array]:
    """Numbers of support and of query rows, int64 `[users]` each.

    Args:
        counts: `[users]`, rows of each user, or one more than its largest support; more than `rule.min_support`.
        keys: uint64 `[users]`, from `episode_key`.
        rule: how much becomes support and query.
    """
    span = np.minimum(rule.max_support, counts - 1) - rule.min_support + 1
    uniform = (splitmix(keys, np.uint64(0)) >> np.uint64(11)) * 2.0**-53  # in [0, 1)
    support = rule.min_support + (uniform * span).astype(np.int64)
    return support, np.minimum(rule.max_query, counts - support)


def draw_order(counts: Array, keys: Array) -> Array:
    """A random order of each user's rows, int64 `[users, most]`; places beyond a user's count mean nothing."""
    places = np.arange(int(counts.max(initial=0)), dtype=np.uint64)
    ranks = splitmix(keys[:, None], places + np.uint64(1))
    ranks[places >= counts[:, None]] = np.iinfo(np.uint64).max
    return ranks.argsort(axis=1, kind="stable")


def split_rows(order: Array, support: int, ties: RowUnits | None = None) -> tuple[Array, Array]:
    """Places of `support` rows to adapt on and of all rows left to judge by, nothing that belongs together in both.

    Without an order of the rows, units stand in a random one. Rows of the unit that the support's end falls into and
    that are too many for it are left out. With an order, the end of a moment is drawn; the support is what comes just
    before it, and later rows whose input is in the support are left out.

    Args:
        order: int64 `[rows]`, a random order of the user's rows.
        support: at most `ties.max_support`.
        ties: the user's; None where nothing belongs together.
    """
    if ties is None:
        return order[:support], order[support:]
    if ties.time_order is None or ties.max_support_at is None:
        line, end = _units(order, support, ties.unit), support
    else:
        line, end = ties.time_order, int(order[ties.max_support_at[order] >= support][0])
    chosen, later = line[end - support : end], line[end:]
    taken = np.zeros(len(order), bool)
    taken[ties.unit[chosen]] = True
    return chosen, later[~taken[ties.unit[later]]]


def _units(order: Array, support: int, unit: Array) -> Array:
    """The rows unit by unit, in the order of the units' first rows; the last of them begins after the support."""
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    line = np.lexsort((rank, rank[unit]))
    fitting = line[np.bincount(unit)[unit[line]] <= len(line) - support]
    last = unit[line] == unit[fitting[-1]]
    return np.concatenate([line[~last], line[last]])


def draw_episode(x: Array, y: Array, rule: EpisodeRule, key: int, ties: RowUnits | None = None) -> Episode:
    """A random support and query of one user, as `split_rows`; those that a cohort of many users gives it.

    Args:
        x: `[rows, ...]`.
        y: `[rows, ...]`.
        rule: how much becomes support and query.
        key: from `episode_key`.
        ties: what belongs together; rows of equal x where it is None.

    Raises:
        PopulationError: fewer rows than `rule.min_support` plus one for the query, or not to be parted so.
    """
    ties = row_units_of(x) if ties is None else ties
    most = int(ties.max_support[0])
    if most < rule.min_support:
        raise PopulationError(f"a user has {shortage_message(len(x), most, rule.min_support)}; leave such users out")
    counts, keys = np.asarray([len(x)]), np.asarray([key], np.uint64)
    (support,), _ = draw_sizes(ties.max_support + 1, keys, rule)
    (order,) = draw_order(counts, keys)
    chosen, held = split_rows(order, int(support), ties)
    held = held[: rule.max_query]
    return Episode(full_batch(x[chosen], y[chosen]), full_batch(x[held], y[held]))


def shortage_message(rows: int, most: int, least: int) -> str:
    """What is wrong with a user whose largest support has `most` rows where `least` are needed."""
    expected = f"expected at least {least + 1}, {least} to adapt on and one to judge by"
    if most == rows - 1:
        return f"{rows} rows: {expected}"
    return (
        f"{rows} rows, of which at most {most} can be adapted on, since those of equal x, group or moment are not "
        f"parted: {expected}"
    )
