"""A round's users: what each of them drew, in batches of users of like sizes.

Bits do not depend on how a cohort is cut: batches are made of whole blocks, and blocks depend on the cohort alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tegu.core.data.batch import Array, NumpyBatch
from tegu.core.sampling.episode import EpisodeRule, draw_order, draw_sizes, episode_keys, split_rows
from tegu.sim.data.population import Population

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
        as_they_lie: supports are all of their users' rows, in the order of the population.
    """

    population: Population
    users: Array
    keys: Array
    support: Array
    query: Array
    order: Array | None = None
    as_they_lie: bool = False

    def pooled(self, any_order: bool = False) -> Cohort:
        """Support and query as one support, in the same order, for learners that do not tell them apart.

        Args:
            any_order: another order will do, and rows are taken as they lie where everybody's all are.
        """
        support = self.support + self.query
        whole = any_order and self.order is None and (support == self.population.counts[self.users]).all()
        return self._replace(support=support, query=np.zeros_like(self.query), as_they_lie=bool(whole))

    @property
    def longest(self) -> tuple[int, int]:
        """Rows of the largest support and of the largest query."""
        return int(self.support.max(initial=0)), int(self.query.max(initial=0))

    def part(self, places: Array | slice) -> Cohort:
        """The users at these places."""
        each = (self.users[places], self.keys[places], self.support[places], self.query[places])
        return Cohort(self.population, *each, None if self.order is None else self.order[places], self.as_they_lie)


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
    each = population.ties(cohort.users[tied]).split(counts[tied])
    for place, ties in zip(tied, each, strict=True):
        chosen, held = split_rows(order[place, : counts[place]], int(cohort.support[place]), ties)
        drawn = np.concatenate([chosen, held[:limit]])
        order[place, : len(drawn)] = drawn
        query[place] = len(drawn) - len(chosen)
    return cohort._replace(query=query, order=order[:, : int((cohort.support + query).max())])


def buckets(cohort: Cohort, waste: float, padding: float = PADDING, fixed: float = 0.0) -> Iterator[Array]:
    """Places of users in groups of like sizes, those with the longest supports first.

    Users stand in the order of their supports and are cut into bands, and bands into groups in the order of queries:
    one pass each, which takes a tenth of the time of looking for the best cuts and pads about as much.

    Args:
        cohort: the users.
        waste: rows that one group may be padded by, about what a call costs: fewer calls are worth no more.
        padding: how much of the whole cohort's cost may be padding.
        fixed: what a user costs whatever its rows, in rows: padding matters the less the more it is.
    """
    limits = waste, padding, fixed / 2  # half of what a user costs allows for padding of supports, half for queries
    supports = np.argsort(-cohort.support, kind="stable")
    for band in _runs(supports, cohort.support, *limits):
        queries = band[np.argsort(-cohort.query[band], kind="stable")]
        yield from _runs(queries, cohort.query, *limits)


def gather(cohort: Cohort, rows: tuple[int, int]) -> tuple[NumpyBatch, NumpyBatch]:
    """Supports and queries `[users, rows, ...]`, padded to so many rows; padding holds rows of the same user."""
    order = _order(cohort)
    x, y, begins = cohort.population.fetch(cohort.users)
    starts = np.zeros_like(cohort.support), cohort.support
    return tuple(  # type: ignore[return-value] # a pair, which the type of a generator does not tell
        _rows(x, y, begins[:, None] + order, start, length, width)
        for start, length, width in zip(starts, (cohort.support, cohort.query), rows, strict=True)
    )


def _order(cohort: Cohort) -> Array:
    if cohort.order is not None:
        return cohort.order
    counts = cohort.population.counts[cohort.users]
    if cohort.as_they_lie:  # an order takes as long to draw as the rows to gather
        return np.arange(counts.max(initial=0))
    return draw_order(counts, cohort.keys)


def _rows(x: Array, y: Array, order: Array, start: Array, length: Array, width: int) -> NumpyBatch:
    if not width:
        nothing = [np.zeros((len(start), 0, *part.shape[1:]), part.dtype) for part in (x, y)]
        return NumpyBatch(nothing[0], nothing[1], np.zeros((len(start), 0), np.float32))
    places = np.arange(width)
    real = places < length[:, None]
    chosen = order.take(np.where(real, start[:, None] + places, 0) + np.arange(len(order))[:, None] * order.shape[1])
    return NumpyBatch(x.take(chosen, 0), y.take(chosen, 0), real.astype(np.float32))


def _runs(places: Array, sizes: Array, waste: float, padding: float, fixed: float) -> Iterator[Array]:
    """Parts of `places`, which are in descending order of `sizes`, each as long as `buckets` allows it to be."""
    line = sizes[places].tolist()
    begin = spent = padded = 0
    while begin < len(line):
        end, own = begin, 0
        while end < len(line):
            more = own + line[begin] - line[end]
            cost = spent + (end + 1 - begin) * (line[begin] + fixed)
            if more > waste or padded + more > padding * cost:
                break
            end, own = end + 1, more
        yield places[begin:end]
        spent, padded = spent + (end - begin) * (line[begin] + fixed), padded + own
        begin = end
