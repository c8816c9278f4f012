"""A round's users: what each of them drew, in batches of users of like sizes.

Bits do not depend on how a cohort is cut: batches are made of whole blocks, and blocks depend on the cohort alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tegu.core.batch import Array, NumpyBatch
from tegu.core.episode import EpisodeRule, draw_order, draw_sizes, episode_keys, part_rows
from tegu.sim.population import Population

__all__ = ["Cohort", "buckets", "draw_cohort", "gather"]

PADDING = 0.25  # at most so much of what a batch costs


class Cohort(NamedTuple):
    """Users of one round and the sizes of their episodes; arrays are `[users]`.

    Attributes:
        population: whose users these are.
        users: indices in the population.
        keys: uint64, what decides each episode.
        support: rows to adapt on.
        query: rows to judge by; 0 where a learner takes all rows as one.
        order: int64 `[users, rows]`, each user's support and then its query, where some have rows that belong
            together; None where the keys alone tell.
    """

    population: Population
    users: Array
    keys: Array
    support: Array
    query: Array
    order: Array | None = None

    def pooled(self) -> Cohort:
        """Support and query as one support, in the same order, for learners that do not tell them apart."""
        return self._replace(support=self.support + self.query, query=np.zeros_like(self.query))

    @property
    def longest(self) -> tuple[int, int]:
        """Rows of the largest support and of the largest query."""
        return int(self.support.max(initial=0)), int(self.query.max(initial=0))

    def part(self, places: Array | slice) -> Cohort:
        """The users at these places."""
        each = (self.users[places], self.keys[places], self.support[places], self.query[places])
        return Cohort(self.population, *each, None if self.order is None else self.order[places])


def draw_cohort(population: Population, users: Array, rule: EpisodeRule, seed: int, round_number: int) -> Cohort:
    """The episodes of `users` in a round, as their own devices would draw them; who has too few rows stays out.

    Users who have rows that belong together are drawn one by one, which takes longer.
    """
    able = users[population.most[users] >= rule.min_support]
    keys = episode_keys(seed, round_number, population.users[able])
    cohort = Cohort(population, able, keys, *draw_sizes(population.most[able] + 1, keys, rule))
    return _parted(cohort, rule.max_query) if population.tied[able].any() else cohort


def _parted(cohort: Cohort, limit: int) -> Cohort:
    """With every user's rows, and queries of at most `limit` that share nothing with the supports."""
    population, counts = cohort.population, cohort.population.counts[cohort.users]
    order, query = draw_order(counts, cohort.keys), cohort.query.copy()
    tied = np.flatnonzero(population.tied[cohort.users])
    each = population.ties(cohort.users[tied]).each(counts[tied])
    for place, ties in zip(tied, each, strict=True):
        chosen, held = part_rows(order[place, : counts[place]], int(cohort.support[place]), ties)
        drawn = np.concatenate([chosen, held[:limit]])
        order[place, : len(drawn)] = drawn
        query[place] = len(drawn) - len(chosen)
    return cohort._replace(query=query, order=order[:, : int((cohort.support + query).max())])


def buckets(cohort: Cohort, padding: float = PADDING, fixed: float = 0.0) -> Iterator[Array]:
    """Places of users in groups of like sizes, the longest users first; each when it is asked for.

    Padded to its longest, no group spends more than `padding` of its cost on padding. A group that does is cut where
    that saves the most.

    Args:
        cohort: the users.
        padding: how much of the cost may be padding.
        fixed: what a user costs whatever its rows, in rows: padding matters the less the more it is.
    """
    sizes = np.stack([cohort.support, cohort.query], 1)
    waiting = [np.lexsort((-sizes[:, 1], -sizes.sum(1)))]
    while waiting:
        group = waiting.pop()
        own = sizes[group]
        area = len(group) * int(own.max(0).sum())
        if area - int(own.sum()) <= padding * (area + len(group) * fixed):
            yield group
        else:
            order, end = _best_cut(own)
            waiting += [group[order[end:]], group[order[:end]]]


def gather(cohort: Cohort, rows: tuple[int, int]) -> tuple[NumpyBatch, NumpyBatch]:
    """Supports and queries `[users, rows, ...]`, padded to so many rows; padding holds rows of the same user."""
    population = cohort.population
    order = draw_order(population.counts[cohort.users], cohort.keys) if cohort.order is None else cohort.order
    x, y, begins = population.fetch(cohort.users)
    starts = np.zeros_like(cohort.support), cohort.support
    return tuple(  # type: ignore[return-value] # a pair, which the type of a generator does not tell
        _rows(x, y, begins[:, None] + order, start, length, width)
        for start, length, width in zip(starts, (cohort.support, cohort.query), rows, strict=True)
    )


def _rows(x: Array, y: Array, order: Array, start: Array, length: Array, width: int) -> NumpyBatch:
    if not width:
        nothing = [np.zeros((len(start), 0, *part.shape[1:]), part.dtype) for part in (x, y)]
        return NumpyBatch(nothing[0], nothing[1], np.zeros((len(start), 0), np.float32))
    places = np.arange(width)
    real = places < length[:, None]
    chosen = np.take_along_axis(order, np.where(real, start[:, None] + places, 0), 1)
    return NumpyBatch(x[chosen], y[chosen], real.astype(np.float32))


def _best_cut(sizes: Array) -> tuple[Array, int]:
    """Places of users in the order of one column, the largest first, and where to cut it for the least padding."""
    columns = np.flatnonzero(sizes.max(0) > sizes.min(0))  # users of equal sizes have no padding, and are not cut
    _, order, end = min((_cut(sizes, int(column)) for column in columns), key=lambda cut: cut[0])
    return order, end


def _cut(sizes: Array, column: int) -> tuple[int, Array, int]:
    """By this column: the least area of the two groups, the order, and where to cut it."""
    order = (-sizes[:, column]).argsort(kind="stable")
    ordered = sizes[order]
    ends = (ordered[1:, column] != ordered[:-1, column]).nonzero()[0] + 1
    before = np.maximum.accumulate(ordered, 0).sum(1)[ends - 1]
    after = np.maximum.accumulate(ordered[::-1], 0).sum(1)[::-1][ends]
    areas = before * ends + after * (len(order) - ends)
    best = int(areas.argmin())
    return int(areas[best]), order, int(ends[best])
