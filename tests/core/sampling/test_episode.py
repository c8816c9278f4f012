from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.people import Rows, leaks, user_rows
from tests.core.samples import refused, same_array

from tegu.core.data.batch import Array
from tegu.core.errors import DataError, PopulationError
from tegu.core.sampling.episode import (
    Episode,
    EpisodeRule,
    draw_episode,
    draw_order,
    draw_sizes,
    draw_users,
    episode_key,
    episode_keys,
    split_rows,
)
from tegu.core.sampling.keyed_random import keyed_rng

DRAW = "from tegu.core.sampling.episode import keyed_rng; print(keyed_rng(0, 'round', 7, 'user é').random(5).tolist())"


@st.composite
def cases(draw: st.DrawFn) -> tuple[EpisodeRule, int]:
    """A rule, and a number of rows that is enough for it."""
    low, high = sorted(draw(st.tuples(st.integers(1, 20), st.integers(1, 20))))
    return EpisodeRule(low, high, draw(st.integers(1, 20))), draw(st.integers(low + 1, 60))


def episode(rows: int, rule: EpisodeRule, *keys: int | str) -> Episode:
    """Of rows with unique ids as inputs and their negatives as targets."""
    ids = np.arange(100, 100 + rows)
    return draw_episode(ids, -ids, rule, episode_key(0, 0, repr(keys)))


@given(cases(), st.integers())
@settings(deadline=None)
def test_support_and_query_are_disjoint_rows_of_the_user(case: tuple[EpisodeRule, int], seed: int) -> None:
    rule, rows = case
    support, query = episode(rows, rule, seed)
    drawn = [*support.x, *query.x]
    assert len(set(drawn)) == len(drawn)
    assert set(drawn) <= set(range(100, 100 + rows))
    for batch in (support, query):
        assert same_array(batch.y, -batch.x)
        assert batch.mask.tolist() == [1] * len(batch.x)


@given(cases(), st.integers())
@settings(deadline=None)
def test_sizes_follow_the_rule(case: tuple[EpisodeRule, int], seed: int) -> None:
    rule, rows = case
    support, query = episode(rows, rule, seed)
    assert rule.min_support <= len(support.x) <= rule.max_support
    assert len(query.x) == min(rule.max_query, rows - len(support.x))
    assert len(query.x) >= 1


def test_every_size_between_the_bounds_is_drawn() -> None:
    sizes = {len(episode(20, EpisodeRule(2, 5), seed).support.x) for seed in range(200)}
    assert sizes == {2, 3, 4, 5}


def test_a_short_user_keeps_one_row_for_the_query() -> None:
    sizes = {tuple(len(batch.x) for batch in episode(4, EpisodeRule(1, 64), seed)) for seed in range(100)}
    assert sizes == {(1, 3), (2, 2), (3, 1)}


def test_every_row_can_be_support_and_query() -> None:
    drawn = [episode(5, EpisodeRule(1, 2, 1), seed) for seed in range(200)]
    assert {row for each in drawn for row in each.support.x} == set(range(100, 105))
    assert {row for each in drawn for row in each.query.x} == set(range(100, 105))


@given(cases(), st.lists(st.integers() | st.text(max_size=5), min_size=1, max_size=3))
@settings(deadline=None)
def test_an_episode_depends_on_the_keys_alone(case: tuple[EpisodeRule, int], keys: list[int | str]) -> None:
    rule, rows = case
    first = episode(rows, rule, *keys)
    keyed_rng("others draw in between").random(3)
    second = episode(rows, rule, *keys)
    assert all(
        same_array(a, b) for left, right in zip(first, second, strict=True) for a, b in zip(left, right, strict=True)
    )


def test_each_key_counts() -> None:
    draws = {
        keyed_rng(*keys).random() for keys in [(0, 1, 2), (1, 1, 2), (0, 2, 2), (0, 1, 3), (2, 1, 0), (0, 12), ("", 0)]
    }
    assert len(draws) == 7


def test_numpy_integers_are_the_integers_they_hold() -> None:
    assert keyed_rng(np.int64(3), "u").random() == keyed_rng(3, "u").random()  # type: ignore[arg-type]


def test_the_generator_is_pinned() -> None:
    """A device of another release has to draw the same rows: a change here is a change of protocol."""
    assert keyed_rng(0, 7, "user").bit_generator.random_raw(2).tolist() == [12358461999138844960, 12205947162162951455]


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_the_generator_is_the_same_in_another_process(hash_seed: str) -> None:
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    printed = subprocess.run([sys.executable, "-c", DRAW], env=environment, capture_output=True, check=True).stdout
    assert printed.decode().strip() == str(keyed_rng(0, "round", 7, "user é").random(5).tolist())


@given(cases(), st.integers(0, 20))
@settings(deadline=None)
def test_too_few_rows_are_refused(case: tuple[EpisodeRule, int], rows: int) -> None:
    rule = case[0]
    rows = min(rows, rule.min_support)
    with refused(PopulationError, f"has {rows} row", f"at least {rule.min_support + 1}", "leave such users out"):
        episode(rows, rule, 0)


@pytest.mark.parametrize("sizes", [(0, 4, 4), (5, 4, 4), (1, 4, 0), (-1, -1, 1)])
def test_an_impossible_rule_is_refused(sizes: tuple[Any, ...]) -> None:
    with refused(DataError, f"min_support={sizes[0]}", f"max_query={sizes[2]}", "expected 1 <="):
        EpisodeRule(*sizes)


def test_many_users_draw_what_each_draws_alone() -> None:
    """A simulation draws a cohort at once, devices each for itself; x is a row's place."""
    rule = EpisodeRule(2, 9, 7)
    counts = np.asarray([3, 40, 11, 5])
    keys = np.asarray([episode_key(1, 2, name) for name in "abcd"], np.uint64)
    order, (support, query) = draw_order(counts, keys), draw_sizes(counts, keys, rule)
    for user, name in enumerate("abcd"):
        places = np.arange(counts[user])
        alone = draw_episode(places, places, rule, episode_key(1, 2, name))
        assert alone.support.x.tolist() == order[user, : support[user]].tolist()
        assert alone.query.x.tolist() == order[user, support[user] : support[user] + query[user]].tolist()
        assert sorted(order[user, : counts[user]]) == places.tolist()


def test_seed_round_and_user_decide_an_episode() -> None:
    keys = {
        episode_key(*each) for each in [(0, 1, "u"), (1, 1, "u"), (0, 2, "u"), (0, 1, "v"), (0, 12, "u"), (0, 1, "")]
    }
    assert len(keys) == 6
    assert all(0 <= key < 2**64 for key in keys)


def test_a_name_has_one_key_whatever_names_stand_next_to_it() -> None:
    names = ["u", "a much longer name", "", "\u00e4\U0001f98e", "12"]
    together = episode_keys(3, 4, np.asarray(names))
    assert together.tolist() == [episode_key(3, 4, name) for name in names]
    assert episode_keys(3, 4, np.asarray([12])).tolist() == [episode_key(3, 4, "12")]
    assert len(np.unique(episode_keys(3, 4, np.arange(100_000)))) == 100_000


def test_the_key_is_pinned() -> None:
    """As `test_the_generator_is_pinned`."""
    assert episode_key(0, 7, "user") == 4685354646768535363


def splitmix64(seed: int, count: int) -> list[int]:
    """Steele, Lea and Flood's generator in Python's own whole numbers."""
    outputs = []
    for _ in range(count):
        seed = (seed + 0x9E3779B97F4A7C15) % 2**64
        z = seed
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        outputs.append(z ^ (z >> 31))
    return outputs


def test_rows_are_ordered_by_splitmix64() -> None:
    assert splitmix64(1234567, 1) == [6457827717110365317], "the reference implementation's own"
    for key in (0, 1234567, 2**64 - 1):
        first, *ranks = splitmix64(key, 9)
        keys = np.asarray([key], np.uint64)
        assert draw_order(np.asarray([8]), keys)[0].tolist() == np.argsort(ranks).tolist()
        support, query = draw_sizes(np.asarray([8]), keys, EpisodeRule(2, 5, 64))
        assert support.tolist() == [2 + int(first / 2**64 * 4)]
        assert query.tolist() == [8 - support[0]]


def test_a_cohort_is_drawn_without_repeats() -> None:
    drawn = draw_users(50, 8, 3, 4)
    assert drawn.tolist() == sorted(set(drawn.tolist()))
    assert len(drawn) == 8
    assert set(drawn.tolist()) <= set(range(50))
    assert drawn.tolist() == draw_users(50, 8, 3, 4).tolist()
    assert len({tuple(draw_users(50, 8, *keys).tolist()) for keys in [(3, 4), (4, 4), (3, 5)]}) == 3
    for everybody in (0, 50, 51):
        assert draw_users(50, everybody, 3, 4).tolist() == list(range(50))


@st.composite
def parted(draw: st.DrawFn) -> tuple[Rows, Array, int]:
    """A user's rows, a random order of them, and how large a support is asked for."""
    rows = draw(user_rows(least=2).filter(lambda rows: rows.ties.max_support[0] > 0))
    order = keyed_rng(draw(st.integers(0, 10**6))).permutation(len(rows.x))
    return rows, order, draw(st.integers(1, int(rows.ties.max_support[0])))


@given(parted())
@settings(deadline=None, max_examples=500)
def test_nothing_is_on_both_sides(case: tuple[Rows, Array, int]) -> None:
    rows, order, size = case
    support, query = (part.tolist() for part in split_rows(order, size, rows.ties))
    assert len(set(support)) == len(support) == size
    assert len(set(query)) == len(query) > 0
    assert leaks(rows, support, query) == []


@given(parted())
@settings(deadline=None, max_examples=300)
def test_no_more_rows_are_left_out_than_must_be(case: tuple[Rows, Array, int]) -> None:
    """Without an order those of the one unit that the support cuts; with one, earlier rows and inputs seen."""
    rows, order, size = case
    ties = rows.ties
    support, query = (part.tolist() for part in split_rows(order, size, ties))
    out = set(range(len(rows.x))) - set(support) - set(query)
    if rows.order is None:
        assert {ties.unit[row] for row in out} <= {ties.unit[support[-1]]}
        return
    end = rows.order[support].max()
    seen = {rows.x[row].tobytes() for row in support}
    assert all(rows.order[row] <= end or rows.x[row].tobytes() in seen for row in out)
    assert all(rows.order[row] <= rows.order[support].min() for row in out if rows.order[row] <= end), "the latest"


@given(user_rows(), st.integers(0, 2**64 - 1), st.integers(1, 4), st.integers(0, 8), st.integers(1, 9))
@settings(deadline=None, max_examples=300)
def test_an_episode_keeps_the_rule_and_the_units(rows: Rows, key: int, least: int, more: int, queries: int) -> None:
    rule, most = EpisodeRule(least, least + more, queries), int(rows.ties.max_support[0])
    if most < least:
        with refused(PopulationError, f"{len(rows.x)} row", f"at least {least + 1}", "leave such users out"):
            draw_episode(rows.x, rows.y, rule, key, rows.ties)
        return
    drawn, again = (draw_episode(rows.x, rows.y, rule, key, rows.ties) for _ in range(2))
    support, query = drawn.support.y.tolist(), drawn.query.y.tolist()
    assert leaks(rows, support, query) == []
    assert least <= len(support) <= min(least + more, most)
    assert 1 <= len(query) <= queries
    assert (again.support.y.tolist(), again.query.y.tolist()) == (support, query)
    assert same_array(drawn.support.x, rows.x[support])
    assert same_array(drawn.query.x, rows.x[query])


def test_a_user_who_cannot_be_parted_is_refused_in_words() -> None:
    with refused(PopulationError, "5 rows, of which at most 0", "equal x, group or order", "at least 2", "leave such"):
        draw_episode(np.full(5, 7), np.arange(5), EpisodeRule(), 1)


def test_equal_rows_are_one_unit_unless_told_otherwise() -> None:
    x = np.asarray([3, 3, 3, 8, 8, 1])
    sides = {tuple(sorted(set(draw_episode(x, x, EpisodeRule(), key).support.x.tolist()))) for key in range(200)}
    assert sides == {(1,), (3,), (8,), (1, 3), (1, 8), (3, 8)}


def test_units_of_one_row_change_nothing() -> None:
    """A population without ties is drawn as if there were no such thing."""
    for key in range(20):
        order = keyed_rng(key).permutation(9)
        ties = Rows(np.arange(9), None, None).ties
        for found, plain in zip(split_rows(order, 4, ties), split_rows(order, 4), strict=True):
            assert found.tolist() == plain.tolist()


@pytest.mark.parametrize("sizes", [(1, 1), (1, 3), (2, 2, 5)])
def test_every_unit_is_adapted_on_and_judged_by_as_often_as_others(sizes: tuple[int, ...]) -> None:
    x = np.repeat(np.arange(len(sizes)), sizes)
    ties = Rows(x, None, None).ties
    drawn = [split_rows(keyed_rng(seed).permutation(len(x)), 1, ties) for seed in range(600)]
    shares = np.bincount([x[support[0]] for support, _ in drawn]) / len(drawn)
    assert np.abs(shares - 1 / len(sizes)).max() < 0.08
    assert all(set(x[query]) == set(x) - set(x[support]) for support, query in drawn)


def test_a_border_stands_after_any_moment_that_has_the_rows() -> None:
    """Moments 1, 2, 5 and 9 of 1, 2, 3 and 1 rows: a support of two ends with the second or the third."""
    order = np.asarray([5, 2, 5, 9, 2, 5, 1])
    ties = Rows(np.arange(7), None, order).ties
    drawn = [split_rows(keyed_rng(seed).permutation(7), 2, ties) for seed in range(100)]
    assert {(tuple(support), tuple(query)) for support, query in drawn} == {((1, 4), (0, 2, 5, 3)), ((2, 5), (3,))}


def test_a_group_that_spans_moments_makes_them_one() -> None:
    """A session from the second row to the fourth."""
    ties = Rows(np.arange(6), np.asarray([0, 1, 2, 1, 3, 4]), np.arange(6)).ties
    drawn = [split_rows(keyed_rng(seed).permutation(6), 1, ties) for seed in range(100)]
    assert {(tuple(support), tuple(query)) for support, query in drawn} == {
        ((0,), (1, 2, 3, 4, 5)),
        ((3,), (4, 5)),
        ((4,), (5,)),
    }


def test_what_was_adapted_on_is_judged_by_no_more() -> None:
    """An item again after the border, where it was in the support; not where it came earlier."""
    ties = Rows(np.asarray([7, 8, 7, 9]), None, np.arange(4)).ties
    drawn = [split_rows(keyed_rng(seed).permutation(4), 1, ties) for seed in range(100)]
    assert {(tuple(support), tuple(query)) for support, query in drawn} == {
        ((0,), (1, 3)),
        ((1,), (2, 3)),
        ((2,), (3,)),
    }
