"""The users of one round, their episodes, and batches of users of similar sizes.

Results do not depend on how a cohort is divided: batches consist of whole blocks, and blocks depend on the cohort
alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tegu.core.data.batch import Array, NumpyBatch
from tegu.core.sampling.episode import EpisodeRule, draw_order, draw_sizes, episode_keys, split_rows
from tegu.sim.data.population import Population

__all__ = ["Cohort", "draw_cohort", "gather", "size_buckets"]

_MAX_PADDING_SHARE = 0.25  # of what a cohort costs


class Cohort(NamedTuple):
    """The users of one round and the sizes of their episodes; arrays are `[users]`.

    Attributes:
        population: the population that the users belong to.
        users: int64, indices in the population.
        keys: uint64, the keys that decide each user's episode.
        support: int64, rows to adapt on.
        query: int64, rows to evaluate on; 0 after `merged`.
        order: int64 `[users, rows]`, each user's support rows and then its query rows. None means that the keys alone
            decide the order, because no user has row units.
        in_storage_order: whether every support holds all rows of its user, in the order of the population.
    """

    population: Population
    users: Array
    keys: Array
    support: Array
    query: Array
    order: Array | None = None
    in_storage_order: bool = False

    def __repr__(self) -> str:
        support, query = self.max_rows
        return f"Cohort(users={len(self.users)}, support<={support} rows, query<={query} rows)"

    def merged(self, order_invariant: bool = False) -> Cohort:
        """A cohort whose supports hold the support and query rows, in the same order, and whose queries are empty.

        Args:
            order_invariant: whether the learner's result is independent of the order of rows. Rows are then taken in
                storage order if every user takes part with all rows, which saves drawing an order.
        """
        support = self.support + self.query
        whole = order_invariant and self.order is None and (support == self.population.counts[self.users]).all()
        return self._replace(support=support, query=np.zeros_like(self.query), in_storage_order=bool(whole))

    @property
    def max_rows(self) -> tuple[int, int]:
        """Rows of the largest support and of the largest query."""
        return int(self.support.max(initial=0)), int(self.query.max(initial=0))

    def select(self, positions: Array | slice) -> Cohort:
        """The users at these positions of the cohort."""
        chosen = (self.users[positions], self.keys[positions], self.support[positions], self.query[positions])
        order = None if self.order is None else self.order[positions]
        return Cohort(self.population, *chosen, order, self.in_storage_order)


def draw_cohort(population: Population, users: Array, rule: EpisodeRule, seed: int, round_number: int) -> Cohort:
    """The episodes of `users` in a round, as their own devices would draw them.

    Users with too few rows are left out. Users with row units are drawn one by one, which takes longer.

    Args:
        population: the population that the users belong to.
        users: int64 `[users]`, indices in the population.
        rule: sizes of supports and queries.
        seed: of the run.
        round_number: counted from 1.
    """
    able = users[population.max_support[users] >= rule.min_support]
    keys = episode_keys(seed, round_number, population.users[able])
    labels = None if population.labels is None else population.labels[able]
    cohort = Cohort(population, able, keys, *draw_sizes(population.max_support[able] + 1, keys, rule, labels))
    return _with_unit_splits(cohort, rule.max_query) if population.has_units[able].any() else cohort


def _with_unit_splits(cohort: Cohort, limit: int) -> Cohort:
    """The cohort with an explicit order of rows, in which no unit has rows in both the support and the query.

    Queries have at most `limit` rows.
    """
    population, counts = cohort.population, cohort.population.counts[cohort.users]
    order, query = draw_order(counts, cohort.keys), cohort.query.copy()
    with_units = np.flatnonzero(population.has_units[cohort.users])
    units_by_user = population.row_units(cohort.users[with_units]).split(counts[with_units])
    for position, units in zip(with_units, units_by_user, strict=True):
        chosen, held = split_rows(order[position, : counts[position]], int(cohort.support[position]), units)
        drawn = np.concatenate([chosen, held[:limit]])
        order[position, : len(drawn)] = drawn
        query[position] = len(drawn) - len(chosen)
    return cohort._replace(query=query, order=order[:, : int((cohort.support + query).max())])


def size_buckets(
    cohort: Cohort,
    max_padding_rows: float,
    max_padding_share: float = _MAX_PADDING_SHARE,
    fixed_rows: float = 0.0,
) -> Iterator[Array]:
    """Positions of users in buckets of similar sizes, those with the largest supports first.

    Users are sorted by support and cut into bands; each band is sorted by query and cut into buckets. These two passes
    take a tenth of the time of a search for the best cuts, and pad about as much.

    Args:
        cohort: the users.
        max_padding_rows: rows of padding allowed in one band and in one bucket. About the cost of one call, since
            saving a call is worth no more than that.
        max_padding_share: share of the whole cohort's cost that may be padding.
        fixed_rows: the cost of a user that does not depend on its rows, in rows. Padding matters less as it grows.

    Yields:
        int64 `[users]`, positions in the cohort; each user is in exactly one bucket.
    """
    # Half of the fixed cost allows for the padding of supports, half for that of queries.
    limits = max_padding_rows, max_padding_share, fixed_rows / 2
    by_support = np.argsort(-cohort.support, kind="stable")
    for band in _similar_runs(by_support, cohort.support, *limits):
        by_query = band[np.argsort(-cohort.query[band], kind="stable")]
        yield from _similar_runs(by_query, cohort.query, *limits)


def gather(cohort: Cohort, rows: tuple[int, int]) -> tuple[NumpyBatch, NumpyBatch]:
    """Supports and queries `[users, rows, ...]`, padded to the given numbers of rows.

    Padding repeats a row of the same user and has mask 0.
    """
    order = _row_order(cohort)
    x, y, begins = cohort.population.fetch(cohort.users)
    starts = np.zeros_like(cohort.support), cohort.support
    return tuple(  # type: ignore[return-value] # a pair, but a generator's type does not state its length
        _padded_rows(x, y, begins[:, None] + order, start, length, width)
        for start, length, width in zip(starts, (cohort.support, cohort.query), rows, strict=True)
    )


def _row_order(cohort: Cohort) -> Array:
    """int64 `[users, rows]`, or `[rows]` if it is the same for all users."""
    if cohort.order is not None:
        return cohort.order
    counts = cohort.population.counts[cohort.users]
    if cohort.in_storage_order:  # drawing an order takes as long as gathering the rows
        return np.arange(counts.max(initial=0))
    return draw_order(counts, cohort.keys)


def _padded_rows(x: Array, y: Array, order: Array, start: Array, length: Array, width: int) -> NumpyBatch:
    """Rows `start` to `start + length` of each user's order, padded to `width` rows."""
    if not width:
        empty = [np.zeros((len(start), 0, *values.shape[1:]), values.dtype) for values in (x, y)]
        return NumpyBatch(empty[0], empty[1], np.zeros((len(start), 0), np.float32))
    columns = np.arange(width)
    real = columns < length[:, None]
    chosen = order.take(np.where(real, start[:, None] + columns, 0) + np.arange(len(order))[:, None] * order.shape[1])
    return NumpyBatch(x.take(chosen, 0), y.take(chosen, 0), real.astype(np.float32))


def _similar_runs(
    positions: Array, sizes: Array, max_padding_rows: float, max_padding_share: float, fixed_rows: float
) -> Iterator[Array]:
    """Consecutive runs of `positions`, each as long as the limits of `size_buckets` allow.

    `positions` are in descending order of `sizes`.
    """
    sorted_sizes = sizes[positions].tolist()
    begin = spent = padded = 0
    while begin < len(sorted_sizes):
        end, own = begin, 0
        while end < len(sorted_sizes):
            more = own + sorted_sizes[begin] - sorted_sizes[end]
            cost = spent + (end + 1 - begin) * (sorted_sizes[begin] + fixed_rows)
            if more > max_padding_rows or padded + more > max_padding_share * cost:
                break
            end, own = end + 1, more
        yield positions[begin:end]
        spent, padded = spent + (end - begin) * (sorted_sizes[begin] + fixed_rows), padded + own
        begin = end
