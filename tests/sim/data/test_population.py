"""Populations: rows grouped by user, the inferred spec, subsets, and the split by user."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.samples import refused
from tests.sim.people import people

from tegu.core.data.spec import Field, Spec
from tegu.core.errors import DataError, PopulationError
from tegu.sim.data.population import Population

SPEC = Spec.classification((2,), 3)
X = np.asarray([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0], [8.0, 9.0]], np.float32)
Y = np.asarray([0, 1, 2, 1, 0])


def numbered(names: list[int]) -> Population:
    """x of a row is its index, which identifies it."""
    rows = np.arange(len(names), dtype=np.float32)
    return Population.from_arrays(rows[:, None], rows, np.asarray(names))


def test_rows_are_grouped_by_user_in_the_given_order() -> None:
    population = Population.from_arrays(X, Y, ["bo", "al", "bo", "cy", "al"], SPEC)
    assert population.users.tolist() == ["al", "bo", "cy"]
    assert population.counts.tolist() == [2, 2, 1]
    assert len(population) == 3
    for index, rows in enumerate(([1, 4], [0, 2], [3])):
        x, y = population.rows(index)
        assert x.tolist() == X[rows].tolist()
        assert y.tolist() == Y[rows].tolist()
        local = population.local(index)
        assert (local.user, local.x.tolist()) == (["al", "bo", "cy"][index], X[rows].tolist())
    assert np.shares_memory(population.rows(0)[0], population.x)


@given(st.lists(st.integers(-3, 6), min_size=1, max_size=30))
def test_every_row_stays_with_its_user(names: list[int]) -> None:
    population = numbered(names)
    found = {int(user): population.rows(i)[0][:, 0].astype(int).tolist() for i, user in enumerate(population.users)}
    assert found == {name: [i for i, other in enumerate(names) if other == name] for name in set(names)}


def test_a_given_spec_is_kept() -> None:
    clicks = Population.from_arrays([3, 1], np.ones(2), [0, 0], Spec.ranking(9))
    assert clicks.spec.kind == "ranking"
    assert clicks.spec.x == Field((), "int64", 9)


def test_a_spec_of_another_kind_is_refused() -> None:
    with refused(DataError, "'regression'", "classification", "leave one of them out"):
        Population.from_arrays(X, Y, [1] * 5, SPEC, kind="regression")


def test_rows_that_do_not_fit_are_refused() -> None:
    with refused(DataError, "(4,)", "expected one entry per row, (5,)"):
        Population.from_arrays(X, Y, [1] * 4, SPEC)
    with refused(DataError, "5 rows", "4"):
        Population.from_arrays(X, Y[:4], [1] * 5, SPEC)
    with refused(DataError, "id 2", "from 0 to 1"):
        Population.from_arrays(X, Y, [1] * 5, Spec.classification((2,), 2))
    with refused(DataError, "id -1"):
        Population.from_arrays(X, Y - 1, [1] * 5, SPEC)
    with refused(DataError, "NaN", "row 3"):
        Population.from_arrays(np.where(X == 6, np.nan, X), Y, [1] * 5, SPEC)
    with refused(DataError, "every row the same shape"):
        Population.from_arrays([[1.0], [1.0, 2.0]], [0.5, 1], [0, 0])
    with refused(PopulationError, "no rows", "at least one user"):
        Population.from_arrays(X[:0], Y[:0], [], SPEC)


def test_a_row_without_a_user_is_refused() -> None:
    """pandas turns gaps into NaN in a column of whole numbers, and into None in a column of names."""
    with refused(DataError, "user is NaN", "name"):
        Population.from_arrays(X, Y, [1, 2, np.nan, 2, 1], SPEC)
    for gap in (None, pd.NA, np.nan):
        with refused(DataError, "user", "give every row a name"):
            Population.from_arrays(X, Y, np.asarray(["al", "bo", gap, "al", "bo"], object), SPEC)


def test_groups_and_times_are_regrouped_with_the_rows() -> None:
    population = Population.from_arrays(
        X, Y, ["bo", "al", "bo", "cy", "al"], SPEC, group=list("abacb"), order=[9, 2, 7, 1, 2]
    )
    al, bo, cy = (population.local(user) for user in range(3))
    assert [each.group.tolist() for each in (al, bo, cy) if each.group is not None] == [[1, 1], [0, 0], [2]]
    assert [each.order.tolist() for each in (al, bo, cy) if each.order is not None] == [[1, 1], [3, 2], [0]]
    assert population.max_support.tolist() == [0, 0, 0], "one time, one session, one row"
    assert population.has_units.tolist() == [True, True, True]


def test_equal_rows_of_one_user_stay_together() -> None:
    population = Population.from_arrays([3, 3, 5, 3, 4], np.zeros(5), [0, 0, 0, 1, 1], Spec.regression((), items=6))
    assert (population.max_support.tolist(), population.has_units.tolist()) == ([2, 1], [True, False])
    chosen = population.subset([1])
    assert (chosen.max_support.tolist(), chosen.has_units.tolist()) == ([1], [False])
    assert population.row_units(np.asarray([1, 0])).unit.tolist() == [0, 1, 0, 0, 2]
    days = Population.from_arrays(
        [3, 3, 5, 3, 4], np.zeros(5), [0, 0, 0, 1, 1], Spec.regression((), items=6), group=[0, 1, 1, 0, 0]
    )
    assert days.max_support.tolist() == [0, 0]
    assert len(days.with_rows(2)) == 0, "no user has rows that can be split"
    assert len(days.with_rows(1)) == 2


@pytest.mark.parametrize("name", ["group", "order"])
def test_rows_without_a_group_or_an_order_are_refused(name: str) -> None:
    with refused(DataError, f"{name} has shape (4,)", "expected one entry per row, (5,)"):
        Population.from_arrays(X, Y, [1] * 5, SPEC, **{name: [1] * 4})
    with refused(DataError, f"{name} is NaN"):
        Population.from_arrays(X, Y, [1] * 5, SPEC, **{name: [1, 2, np.nan, 1, 1]})
    with refused(DataError, "no column ['when']"):
        Population.from_frame(FRAME, user="who", features="film", target="liked", **{name: "when"})


def test_a_frame_gives_groups_and_times() -> None:
    population = Population.from_frame(FRAME, user="who", features="film", target="liked", group="film", order="height")
    assert population.group is not None
    assert population.order is not None
    assert (population.group.tolist(), population.order.tolist()) == ([0, 2, 1], [1, 0, 2])


FRAME = pd.DataFrame(
    {"who": ["b", "a", "b"], "age": [30, 40, 50], "height": [1.5, 1.75, 2.0], "film": [3, 0, 1], "liked": [1, 0, 1]}
)


def test_a_frame_with_several_columns_of_numbers() -> None:
    population = Population.from_frame(FRAME, user="who", features=["age", "height"], target="liked")
    assert population.spec == Spec.classification((2,), 2)
    assert population.users.tolist() == ["a", "b"]
    assert population.rows(1)[0].tolist() == [[30, 1.5], [50, 2.0]]
    assert population.rows(1)[1].tolist() == [1, 1]


def test_a_frame_with_one_column_of_ids() -> None:
    population = Population.from_frame(FRAME, user="who", features="film", target="height")
    assert population.spec == Spec.regression((), items=4)
    assert population.rows(1)[0].tolist() == [3, 1]
    ranked = Population.from_frame(FRAME, user="who", features="film", target="liked", spec=Spec.ranking(5))
    assert ranked.spec == Spec.ranking(5)


def test_a_frame_without_a_column_is_refused() -> None:
    with refused(DataError, "no column ['whom', 'weight']", "who", "height"):
        Population.from_frame(FRAME, user="whom", features=["age", "weight"], target="liked")
    with refused(DataError, "no column ['loved']"):
        Population.from_frame(FRAME, user="who", features="film", target="loved")


def test_subset_keeps_the_order_of_the_indices() -> None:
    population = numbered([5, 6, 5, 7, 6, 5])
    chosen = population.subset([2, 0])
    assert chosen.users.tolist() == [7, 5]
    assert [chosen.rows(i)[0][:, 0].tolist() for i in range(2)] == [[3], [0, 2, 5]]
    assert chosen.spec == population.spec
    assert len(population.subset([])) == 0


def test_subset_refuses_invalid_indices() -> None:
    """numpy would read -1 as the last user, and a mask as the users 0 and 1."""
    population = numbered([5, 6, 7])
    for indices in ([-1], [3], [0, 99], [True, False, True]):
        with refused(DataError, "indices", "from 0 to 2"):
            population.subset(indices)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20), st.integers(0, 6))
def test_with_rows_keeps_exactly_the_users_with_enough_rows(names: list[int], least: int) -> None:
    kept = numbered(names).with_rows(least)
    assert kept.users.tolist() == sorted(name for name in set(names) if names.count(name) >= least)
    assert kept.counts.tolist() == [names.count(name) for name in kept.users]


@given(
    st.integers(3, 60), st.integers(0, 9), st.sampled_from([(0.2, 0.1), (0.5, 0.25), (0.34, 0.33), (0.1, 0.4)])
)  # fmt: skip
def test_a_split_is_disjoint_and_complete_and_has_the_given_shares(
    users: int, seed: int, shares: tuple[float, float]
) -> None:
    population = numbered(list(range(users)) * 2)
    heldout, calibration = (round(share * users) for share in shares)
    if min(heldout, calibration, users - heldout - calibration) < 1:
        with refused(PopulationError, f"{users} users", f"{shares[0]:.0%} held out", "bring more users"):
            population.split(seed, *shares)
        return
    split = population.split(seed, *shares)
    assert [len(part) for part in split] == [users - heldout - calibration, calibration, heldout]
    assert sorted(np.concatenate([part.users for part in split]).tolist()) == list(range(users))
    for part in split:
        for index, user in enumerate(part.users):
            assert part.rows(index)[0][:, 0].tolist() == [user, user + users]


def test_a_split_depends_on_the_seed_alone() -> None:
    everyone = people(50)
    first, again, other = (everyone.split(seed) for seed in (3, 3, 4))
    assert [part.users.tolist() for part in first] == [part.users.tolist() for part in again]
    assert first.heldout.users.tolist() != other.heldout.users.tolist()
    assert (len(first.heldout), len(first.calibration)) == (10, 10)


@pytest.mark.parametrize(("users", "calibration"), [(10, 2), (100, 20), (200, 30), (299, 30), (301, 30), (1000, 100)])
def test_a_small_population_gives_a_larger_share_to_calibration(users: int, calibration: int) -> None:
    assert len(numbered(list(range(users)) * 2).split(0).calibration) == calibration


@pytest.mark.parametrize("shares", [(0.0, 0.1), (0.2, 0.0), (0.9, 0.1), (1.5, 0.1), (-0.2, 0.1), (0.2, -0.1)])
def test_shares_that_leave_a_set_empty_are_refused(shares: tuple[float, float]) -> None:
    with refused(PopulationError, "20 users", "at least one in each", "change the shares"):
        people(20).split(0, *shares)
