"""The users of a round: their episodes, buckets of similar sizes, and gathered batches."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.people import Rows, leaks
from tests.sim.row_units import population_of, row_positions, users_with_row_units

from tegu.core.data.spec import Spec
from tegu.core.sampling.episode import EpisodeRule, draw_episode, episode_key
from tegu.sim.data.cohort import Cohort, draw_cohort, gather, size_buckets
from tegu.sim.data.population import Population


def numbered(counts: list[int]) -> Population:
    """Users with `counts` rows; x of a row is its index in the population, which identifies it."""
    rows = np.arange(sum(counts), dtype=np.float32)
    return Population.from_arrays(rows[:, None], -rows, np.repeat(np.arange(len(counts)), counts))


def drawn(counts: list[int], rule: EpisodeRule) -> Cohort:
    return draw_cohort(numbered(counts), np.arange(len(counts)), rule, 3, 4)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(1, 5), st.integers(1, 9))
@settings(deadline=None)
def test_a_batch_holds_the_episode_that_each_device_draws(counts: list[int], least: int, most_query: int) -> None:
    rule = EpisodeRule(least, least + 6, most_query)
    cohort, population = drawn(counts, rule), numbered(counts)
    assert cohort.users.tolist() == [user for user, count in enumerate(counts) if count > least]
    if not len(cohort.users):
        return
    support, query = gather(cohort, cohort.max_rows)
    for place, user in enumerate(cohort.users):
        alone = draw_episode(*population.rows(user), rule, episode_key(3, 4, str(user)))
        for batch, expected in ((support, alone.support), (query, alone.query)):
            rows = len(expected.mask)
            assert batch.mask[place].tolist() == [1] * rows + [0] * (batch.mask.shape[1] - rows)
            assert batch.x[place, :rows].tolist() == expected.x.tolist()
            assert batch.y[place, :rows].tolist() == expected.y.tolist()
            assert np.isin(batch.x[place], population.rows(user)[0]).all(), "padding repeats a row of the same user"


@given(users_with_row_units(), st.integers(1, 3), st.integers(0, 6), st.integers(1, 9), st.integers(0, 99))
@settings(deadline=None, max_examples=200)
def test_row_units_are_drawn_as_on_a_device(
    people: list[Rows], least: int, more: int, most_query: int, seed: int
) -> None:
    rule, population = EpisodeRule(least, least + more, most_query), population_of(people)
    cohort = draw_cohort(population, np.arange(len(people)), rule, seed, 4)
    assert cohort.users.tolist() == [user for user, rows in enumerate(people) if rows.ties.max_support[0] >= least]
    if not len(cohort.users):
        return
    chosen = slice(0, None, 2)  # a selection keeps the drawn rows
    for part in (cohort, cohort.select(chosen)):
        support, query = gather(part, part.max_rows)
        merged, _ = gather(part.merged(), part.merged().max_rows)
        for place, user in enumerate(part.users):
            local = population.local(user)
            alone = draw_episode(local.x, local.y, rule, episode_key(seed, 4, local.user), people[user].ties)
            sizes = part.support[place], part.query[place]
            assert sizes == (len(alone.support.y), len(alone.query.y))
            assert [batch.mask[place].sum() for batch in (support, query)] == list(sizes)
            for batch, size, expected in zip((support, query), sizes, alone, strict=True):
                assert batch.x[place, :size].tobytes() == expected.x.tobytes()
                assert batch.y[place, :size].tobytes() == expected.y.tobytes()
            assert row_positions(merged.y[place, : sum(sizes)]) == row_positions(alone.support.y) + row_positions(
                alone.query.y
            )
            assert leaks(people[user], row_positions(alone.support.y), row_positions(alone.query.y)) == []


def test_without_row_units_the_keys_alone_decide_the_order() -> None:
    assert drawn([9, 5], EpisodeRule()).order is None
    again = Population.from_arrays([1, 1, 2, 1, 2, 3], np.zeros(6), [0, 0, 0, 1, 1, 1], Spec.ranking(4))
    assert draw_cohort(again, np.asarray([1]), EpisodeRule(), 0, 1).order is None
    assert draw_cohort(again, np.asarray([0, 1]), EpisodeRule(), 0, 1).order is not None


def test_merged_rows_are_the_support_and_then_the_query() -> None:
    cohort = drawn([9, 5, 30], EpisodeRule(1, 6, 4))
    support, query = gather(cohort, cohort.max_rows)
    merged, none = gather(cohort.merged(), cohort.merged().max_rows)
    assert none.x.shape == (3, 0, 1)
    for user, (first, second) in enumerate(zip(cohort.support, cohort.query, strict=True)):
        expected = [*support.x[user, :first, 0], *query.x[user, :second, 0]]
        assert merged.x[user, : first + second, 0].tolist() == expected
        assert merged.mask[user].sum() == first + second


def test_rows_are_in_storage_order_only_if_every_user_takes_part_with_all_rows() -> None:
    counts = [9, 5, 30]
    whole = drawn(counts, EpisodeRule(1, 6, 64)).merged(order_invariant=True)
    assert whole.in_storage_order
    rows, _ = gather(whole, whole.max_rows)
    places = np.cumsum(counts) - counts
    for user, (place, count) in enumerate(zip(places, counts, strict=True)):
        assert rows.x[user, :count, 0].tolist() == list(range(place, place + count))
    part = whole.select(np.asarray([2]))
    assert gather(part, part.max_rows)[0].x.ravel().tolist() == list(range(14, 44))
    assert not drawn(counts, EpisodeRule(1, 6, 64)).merged().in_storage_order
    assert not drawn(counts, EpisodeRule(1, 6, 4)).merged(order_invariant=True).in_storage_order, (
        "not all rows take part"
    )
    tied = Population.from_arrays([1, 1, 2, 1], np.zeros(4), [0, 0, 0, 0])
    assert not draw_cohort(tied, np.asarray([0]), EpisodeRule(), 0, 1).merged(order_invariant=True).in_storage_order


@given(
    st.lists(st.integers(2, 300), min_size=1, max_size=60),
    st.sampled_from([0.0, 0.1, 0.25]),
    st.booleans(),
    st.sampled_from([0.0, 40.0]),
    st.sampled_from([10.0, 100.0, math.inf]),
)
@settings(deadline=None)
def test_padding_stays_within_the_limits_of_the_cohort_and_of_a_bucket(
    counts: list[int], share: float, merged: bool, fixed: float, max_padding: float
) -> None:
    cohort = drawn(counts, EpisodeRule(1, 64, 64))
    cohort = cohort.merged() if merged else cohort
    groups = list(size_buckets(cohort, max_padding, share, fixed))
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(counts)))
    areas = [len(group) * int(cohort.support[group].max() + cohort.query[group].max()) for group in groups]
    padded = [area - int((cohort.support + cohort.query)[each].sum()) for area, each in zip(areas, groups, strict=True)]
    assert sum(padded) <= share * (sum(areas) + len(counts) * fixed) + 1e-6
    assert max(padded) <= 2 * max_padding, "once for supports and once for queries"


def test_users_of_similar_sizes_stay_in_one_bucket() -> None:
    cohort = drawn([10] * 40, EpisodeRule(5, 5, 5))
    assert [group.tolist() for group in size_buckets(cohort, 0.0)] == [list(range(40))]
    mixed = drawn([300] * 20 + [10] * 20, EpisodeRule(5, 5, 64))
    assert [group.tolist() for group in size_buckets(mixed, 50.0)] == [list(range(20)), list(range(20, 40))]
    assert [len(group) for group in size_buckets(mixed, math.inf, fixed_rows=1000)] == [40], (
        "padding is small beside the fixed cost"
    )


def test_the_fixed_cost_allows_for_padding_once() -> None:
    """In one bucket the two users have 40 rows of padding in 120."""
    sizes = np.asarray([30, 10]), np.asarray([10, 30])
    crossed = drawn([50, 50], EpisodeRule(1, 30, 30))._replace(support=sizes[0], query=sizes[1])
    assert [len(group) for group in size_buckets(crossed, math.inf, 0.25, fixed_rows=10)] == [
        1,
        1,
    ]  # 35 of 140 may be padding
    assert [len(group) for group in size_buckets(crossed, math.inf, 0.25, fixed_rows=20)] == [
        2
    ]  # 40 of 160 may be padding


@given(st.lists(st.integers(1, 40), min_size=2, max_size=30), st.floats(0, 0.5), st.floats(0, 50))
@settings(deadline=None)
def test_a_bucket_ends_where_one_more_user_would_exceed_the_padding(
    sizes: list[int], share: float, max_padding: float
) -> None:
    """Against a plain implementation of the rule, for supports alone."""
    query = np.zeros(len(sizes), np.int64)
    cohort = drawn([50] * len(sizes), EpisodeRule(1, 9, 9))._replace(support=np.asarray(sizes), query=query)
    expected: list[list[int]] = []
    padded = area = 0
    for size in sorted(sizes, reverse=True):
        last = expected[-1] if expected else []
        own = sum(last[0] - each for each in [*last, size]) if last else 0
        whole = area + len(last) * last[0] + last[0] if last else 0
        if last and own <= max_padding and padded + own <= share * whole:
            last.append(size)
        else:
            padded += sum(last[0] - each for each in last)
            area += len(last) * (last[0] if last else 0)
            expected.append([size])
    assert [cohort.support[group].tolist() for group in size_buckets(cohort, max_padding, share)] == expected


@pytest.mark.parametrize("seed", range(3))
def test_many_sizes_give_few_buckets(seed: int) -> None:
    counts = np.clip(np.exp(np.random.default_rng(seed).normal(3.3, 1, 100)), 5, 300).astype(int).tolist()
    assert len(list(size_buckets(drawn(counts, EpisodeRule(1, 64, 64)).merged(), 100.0))) <= 8
