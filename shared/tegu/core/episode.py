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

__all__ = ["Episode", "EpisodeRule", "draw_episode", "rows_rng"]


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


def draw_episode(x: Array, y: Array, rule: EpisodeRule, rng: np.random.Generator) -> Episode:
    """A random support and query without a row in common.

    Raises:
        PopulationError: fewer rows than `rule.min_support` plus one for the query.
    """
    rows = len(x)
    if rows <= rule.min_support:
        raise PopulationError(
            f"a user has {rows} rows: expected at least {rule.min_support + 1}, "
            f"{rule.min_support} to adapt on and one to judge by; leave such users out"
        )
    size = int(rng.integers(rule.min_support, min(rule.max_support, rows - 1) + 1))
    order = rng.permutation(rows)
    chosen, held = order[:size], order[size : size + rule.max_query]
    return Episode(full_batch(x[chosen], y[chosen]), full_batch(x[held], y[held]))
