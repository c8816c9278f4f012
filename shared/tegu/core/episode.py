"""Splitting one user's rows into support and query, the same on a device and in a simulation.

The split depends on `(seed, round, user)` alone, so every substrate that runs a round draws the same one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tegu.core.batch import Array, NumpyBatch, full_batch
from tegu.core.errors import DataError, PopulationError

__all__ = [
    "Episode",
    "EpisodeRule",
    "draw_episode",
    "draw_order",
    "draw_sizes",
    "draw_users",
    "episode_key",
    "rows_rng",
]


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


def rows_rng(*keys: int | str) -> np.random.Generator:
    """A generator for these keys alone, the same on every machine and in every process."""
    sha = hashlib.sha256("\0".join(map(str, keys)).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(sha[:16], "little")))


def draw_users(population: int, users: int, seed: int, round_number: int) -> Array:
    """Places of the users that take part in a round, int64, ascending: `users` of `population`, or all for 0."""
    if not 0 < users < population:
        return np.arange(population)
    return np.sort(rows_rng(seed, "cohort", round_number).choice(population, users, replace=False))


def episode_key(seed: int, round_number: int, user: str) -> int:
    """What decides a user's episode in a round: 64 bits."""
    name = f"{seed}\0{round_number}\0{user}".encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little")


def draw_sizes(counts: Array, keys: Array, rule: EpisodeRule) -> tuple[Array, Array]:
    """Numbers of support and of query rows, int64 `[users]` each.

    Args:
        counts: `[users]`, rows of each user, more than `rule.min_support`.
        keys: uint64 `[users]`, from `episode_key`.
        rule: how much becomes support and query.
    """
    span = np.minimum(rule.max_support, counts - 1) - rule.min_support + 1
    uniform = (_mixed(keys, np.uint64(0)) >> np.uint64(11)) * 2.0**-53  # in [0, 1)
    support = rule.min_support + (uniform * span).astype(np.int64)
    return support, np.minimum(rule.max_query, counts - support)


def draw_order(counts: Array, keys: Array) -> Array:
    """A random order of each user's rows, int64 `[users, most]`; places beyond a user's count mean nothing."""
    places = np.arange(int(counts.max(initial=0)), dtype=np.uint64)
    ranks = _mixed(keys[:, None], places + np.uint64(1))
    ranks[places >= counts[:, None]] = np.iinfo(np.uint64).max
    return ranks.argsort(axis=1, kind="stable")


def draw_episode(x: Array, y: Array, rule: EpisodeRule, key: int) -> Episode:
    """A random support and query of one user, without a row in common; those that a cohort of many users gives it.

    Raises:
        PopulationError: fewer rows than `rule.min_support` plus one for the query.
    """
    rows = len(x)
    if rows <= rule.min_support:
        raise PopulationError(
            f"a user has {rows} rows: expected at least {rule.min_support + 1}, "
            f"{rule.min_support} to adapt on and one to judge by; leave such users out"
        )
    counts, keys = np.asarray([rows]), np.asarray([key], np.uint64)
    (support,), (query,) = draw_sizes(counts, keys, rule)
    (order,) = draw_order(counts, keys)
    chosen, held = order[:support], order[support : support + query]
    return Episode(full_batch(x[chosen], y[chosen]), full_batch(x[held], y[held]))


def _mixed(keys: Array, counters: Array | np.uint64) -> Array:
    """SplitMix64 (Steele, Lea, Flood 2014): the counter-th output of the generator that a key seeds.

    Counters rather than a stream, so that many users' rows are drawn in one vectorised call.
    """
    bits = keys + (counters + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Array = bits ^ (bits >> np.uint64(31))
    return mixed
