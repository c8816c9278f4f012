from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.samples import refused, same_array

from tegu.core.episode import (
    Episode,
    EpisodeRule,
    draw_episode,
    draw_order,
    draw_sizes,
    draw_users,
    episode_key,
    rows_rng,
)
from tegu.core.errors import DataError, PopulationError

DRAW = "from tegu.core.episode import rows_rng; print(rows_rng(0, 'round', 7, 'user é').random(5).tolist())"


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
    rows_rng("others draw in between").random(3)
    second = episode(rows, rule, *keys)
    assert all(
        same_array(a, b) for left, right in zip(first, second, strict=True) for a, b in zip(left, right, strict=True)
    )


def test_each_key_counts() -> None:
    draws = {
        rows_rng(*keys).random() for keys in [(0, 1, 2), (1, 1, 2), (0, 2, 2), (0, 1, 3), (2, 1, 0), (0, 12), ("", 0)]
    }
    assert len(draws) == 7


def test_numpy_integers_are_the_integers_they_hold() -> None:
    assert rows_rng(np.int64(3), "u").random() == rows_rng(3, "u").random()  # type: ignore[arg-type]


def test_the_generator_is_pinned() -> None:
    """A device of another release has to draw the same rows: a change here is a change of protocol."""
    assert rows_rng(0, 7, "user").bit_generator.random_raw(2).tolist() == [12358461999138844960, 12205947162162951455]


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_the_generator_is_the_same_in_another_process(hash_seed: str) -> None:
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    printed = subprocess.run([sys.executable, "-c", DRAW], env=environment, capture_output=True, check=True).stdout
    assert printed.decode().strip() == str(rows_rng(0, "round", 7, "user é").random(5).tolist())


@given(cases(), st.integers(0, 20))
@settings(deadline=None)
def test_too_few_rows_are_refused(case: tuple[EpisodeRule, int], rows: int) -> None:
    rule = case[0]
    rows = min(rows, rule.min_support)
    with refused(PopulationError, f"has {rows} rows", f"at least {rule.min_support + 1}", "leave such users out"):
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


def test_the_key_is_pinned() -> None:
    """As `test_the_generator_is_pinned`."""
    assert episode_key(0, 7, "user") == 16197800541424556352


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
