"""Grouping rows by user, telling the spec from them, and splitting by user."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.samples import refused
from tests.sim.people import people

from tegu.core.data.batch import Array
from tegu.core.data.spec import Field, Spec
from tegu.core.errors import DataError, PopulationError
from tegu.sim.data.population import Population

X = np.asarray([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0], [8.0, 9.0]], np.float32)
Y = np.asarray([0, 1, 2, 1, 0])


def numbered(names: list[int]) -> Population:
    """A row's x is its place, so that rows can be told apart."""
    rows = np.arange(len(names), dtype=np.float32)
    return Population.from_arrays(rows[:, None], rows, np.asarray(names))


def test_rows_are_grouped_by_user_in_the_order_they_came() -> None:
    people = Population.from_arrays(X, Y, ["bo", "al", "bo", "cy", "al"])
    assert people.users.tolist() == ["al", "bo", "cy"]
    assert people.counts.tolist() == [2, 2, 1]
    assert len(people) == 3
    for index, rows in enumerate(([1, 4], [0, 2], [3])):
        x, y = people.rows(index)
        assert x.tolist() == X[rows].tolist()
        assert y.tolist() == Y[rows].tolist()
        local = people.local(index)
        assert (local.user, local.x.tolist()) == (["al", "bo", "cy"][index], X[rows].tolist())
    assert np.shares_memory(people.rows(0)[0], people.x)


@given(st.lists(st.integers(-3, 6), min_size=1, max_size=30))
def test_no_row_is_lost_or_given_to_another(names: list[int]) -> None:
    people = numbered(names)
    found = {int(user): people.rows(i)[0][:, 0].astype(int).tolist() for i, user in enumerate(people.users)}
    assert found == {name: [i for i, other in enumerate(names) if other == name] for name in set(names)}


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        (X, Y, Spec.classification((2,), 3)),
        (X, Y.astype(np.uint8), Spec.classification((2,), 3)),
        (X.astype(int), Y, Spec.classification((2,), 3, tokens=10)),
        (X, Y.astype(np.float32), Spec.regression((2,), 1)),
        (X, X.astype(float), Spec.regression((2,), 2)),
        (np.asarray([4, 0, 7, 7, 1]), X, Spec.regression((), 2, items=8)),
        (np.zeros((5, 2, 3), np.float32), Y == 1, Spec.classification((2, 3), 2)),
    ],
)
def test_the_spec_is_told_from_the_arrays(x: Array, y: Array, expected: Spec) -> None:
    people = Population.from_arrays(x, y, [1, 1, 2, 2, 3])
    assert people.spec == expected
    assert people.x.dtype == np.dtype(expected.x.dtype)
    assert people.y.shape == (5, *expected.y.shape)


def test_a_given_spec_stands() -> None:
    clicks = Population.from_arrays([3, 1], np.ones(2), [0, 0], Spec.ranking(9))
    assert clicks.spec.kind == "ranking"
    assert clicks.spec.x == Field((), "int64", 9)


def test_rows_that_do_not_fit_are_refused() -> None:
    with refused(DataError, "(2,)", "pass spec, or make x float32"):
        Population.from_arrays(X.astype(int), Y.astype(np.float32), [1] * 5)
    with refused(DataError, "(4,)", "expected one entry per row, (5,)"):
        Population.from_arrays(X, Y, [1] * 4)
    with refused(DataError, "5 rows", "4"):
        Population.from_arrays(X, Y[:4], [1] * 5)
    with refused(DataError, "id 2", "from 0 to 1"):
        Population.from_arrays(X, Y, [1] * 5, Spec.classification((2,), 2))
    with refused(DataError, "id -1"):
        Population.from_arrays(X, Y - 1, [1] * 5)
    with refused(DataError, "NaN", "row 3"):
        Population.from_arrays(np.where(X == 6, np.nan, X), Y, [1] * 5)
    with refused(DataError, "dtype <U1", "numbers"):
        Population.from_arrays(X, list("abcde"), [1] * 5)
    with refused(DataError, "every row the same shape"):
        Population.from_arrays([[1.0], [1.0, 2.0]], [0, 1], [0, 0])
    with refused(PopulationError, "no rows", "at least one user"):
        Population.from_arrays(X[:0], Y[:0], [])


def test_a_row_without_a_user_is_refused() -> None:
    """A column of whole numbers with gaps arrives from pandas as float with NaN, one of names with None."""
    with refused(DataError, "user is NaN", "name"):
        Population.from_arrays(X, Y, [1, 2, np.nan, 2, 1])
    for gap in (None, pd.NA, np.nan):
        with refused(DataError, "user", "give every row a name"):
            Population.from_arrays(X, Y, np.asarray(["al", "bo", gap, "al", "bo"], object))


def test_groups_and_times_are_the_users_rows() -> None:
    people = Population.from_arrays(X, Y, ["bo", "al", "bo", "cy", "al"], group=list("abacb"), order=[9, 2, 7, 1, 2])
    al, bo, cy = (people.local(user) for user in range(3))
    assert [each.group.tolist() for each in (al, bo, cy) if each.group is not None] == [[1, 1], [0, 0], [2]]
    assert [each.order.tolist() for each in (al, bo, cy) if each.order is not None] == [[1, 1], [3, 2], [0]]
    assert people.max_support.tolist() == [0, 0, 0], "one moment, one session, one row"
    assert people.has_units.tolist() == [True, True, True]


def test_equal_rows_of_one_user_belong_together() -> None:
    people = Population.from_arrays([3, 3, 5, 3, 4], np.zeros(5), [0, 0, 0, 1, 1])
    assert (people.max_support.tolist(), people.has_units.tolist()) == ([2, 1], [True, False])
    chosen = people.subset([1])
    assert (chosen.max_support.tolist(), chosen.has_units.tolist()) == ([1], [False])
    assert people.row_units(np.asarray([1, 0])).unit.tolist() == [0, 1, 0, 0, 2]
    days = Population.from_arrays([3, 3, 5, 3, 4], np.zeros(5), [0, 0, 0, 1, 1], group=[0, 1, 1, 0, 0])
    assert days.max_support.tolist() == [0, 0]
    assert len(days.with_rows(2)) == 0, "nobody can be parted"
    assert len(days.with_rows(1)) == 2


@pytest.mark.parametrize("name", ["group", "order"])
def test_rows_without_a_group_or_an_order_are_refused(name: str) -> None:
    with refused(DataError, f"{name} has shape (4,)", "expected one entry per row, (5,)"):
        Population.from_arrays(X, Y, [1] * 5, **{name: [1] * 4})
    with refused(DataError, f"{name} is NaN"):
        Population.from_arrays(X, Y, [1] * 5, **{name: [1, 2, np.nan, 1, 1]})
    with refused(DataError, "no column ['when']"):
        Population.from_frame(FRAME, user="who", features="film", target="liked", **{name: "when"})


def test_a_frame_has_columns_of_groups_and_times() -> None:
    people = Population.from_frame(FRAME, user="who", features="film", target="liked", group="film", order="height")
    assert people.group is not None
    assert people.order is not None
    assert (people.group.tolist(), people.order.tolist()) == ([0, 2, 1], [1, 0, 2])


FRAME = pd.DataFrame(
    {"who": ["b", "a", "b"], "age": [30, 40, 50], "height": [1.5, 1.75, 2.0], "film": [3, 0, 1], "liked": [1, 0, 1]}
)


def test_a_frame_with_several_columns_of_numbers() -> None:
    people = Population.from_frame(FRAME, user="who", features=["age", "height"], target="liked")
    assert people.spec == Spec.classification((2,), 2)
    assert people.users.tolist() == ["a", "b"]
    assert people.rows(1)[0].tolist() == [[30, 1.5], [50, 2.0]]
    assert people.rows(1)[1].tolist() == [1, 1]


def test_a_frame_with_one_column_of_ids() -> None:
    people = Population.from_frame(FRAME, user="who", features="film", target="height")
    assert people.spec == Spec.regression((), items=4)
    assert people.rows(1)[0].tolist() == [3, 1]
    ranked = Population.from_frame(FRAME, user="who", features="film", target="liked", spec=Spec.ranking(5))
    assert ranked.spec == Spec.ranking(5)


def test_a_frame_without_a_column_is_refused() -> None:
    with refused(DataError, "no column ['whom', 'weight']", "who", "height"):
        Population.from_frame(FRAME, user="whom", features=["age", "weight"], target="liked")
    with refused(DataError, "no column ['loved']"):
        Population.from_frame(FRAME, user="who", features="film", target="loved")


def test_a_frame_with_words_for_features_is_refused() -> None:
    frame = FRAME.assign(town=["x", "y", "z"], maybe=pd.array([1, None, 2], dtype="Int64"))
    with refused(DataError, "['age', 'town']", "encode them"):
        Population.from_frame(frame, user="who", features=["age", "town"], target="liked")
    with refused(DataError, "dtype object"):
        Population.from_frame(frame, user="who", features="town", target="liked")
    with refused(DataError):
        Population.from_frame(frame, user="who", features=["age", "maybe"], target="liked")


def test_subset_keeps_the_order_asked_for() -> None:
    people = numbered([5, 6, 5, 7, 6, 5])
    chosen = people.subset([2, 0])
    assert chosen.users.tolist() == [7, 5]
    assert [chosen.rows(i)[0][:, 0].tolist() for i in range(2)] == [[3], [0, 2, 5]]
    assert chosen.spec == people.spec
    assert len(people.subset([])) == 0


def test_subset_refuses_what_is_no_index() -> None:
    """numpy would take -1 for the last user and a mask for the users 0 and 1."""
    people = numbered([5, 6, 7])
    for indices in ([-1], [3], [0, 99], [True, False, True]):
        with refused(DataError, "indices", "from 0 to 2"):
            people.subset(indices)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20), st.integers(0, 6))
def test_with_rows_keeps_exactly_who_has_enough(names: list[int], least: int) -> None:
    kept = numbered(names).with_rows(least)
    assert kept.users.tolist() == sorted(name for name in set(names) if names.count(name) >= least)
    assert kept.counts.tolist() == [names.count(name) for name in kept.users]


@given(
    st.integers(3, 60), st.integers(0, 9), st.sampled_from([(0.2, 0.1), (0.5, 0.25), (0.34, 0.33), (0.1, 0.4)])
)  # fmt: skip
def test_a_split_is_disjoint_complete_and_of_the_shares_asked_for(
    users: int, seed: int, shares: tuple[float, float]
) -> None:
    people = numbered(list(range(users)) * 2)
    heldout, calibration = (round(share * users) for share in shares)
    if min(heldout, calibration, users - heldout - calibration) < 1:
        with refused(PopulationError, f"{users} users", f"{shares[0]:.0%} held out", "bring more users"):
            people.split(seed, *shares)
        return
    split = people.split(seed, *shares)
    assert [len(part) for part in split] == [users - heldout - calibration, calibration, heldout]
    assert sorted(np.concatenate([part.users for part in split]).tolist()) == list(range(users))
    for part in split:
        for index, user in enumerate(part.users):
            assert part.rows(index)[0][:, 0].tolist() == [user, user + users]


def test_a_split_depends_on_the_seed_alone() -> None:
    who = people(50)
    first, again, other = (who.split(seed) for seed in (3, 3, 4))
    assert [part.users.tolist() for part in first] == [part.users.tolist() for part in again]
    assert first.heldout.users.tolist() != other.heldout.users.tolist()
    assert (len(first.heldout), len(first.calibration)) == (10, 10)


@pytest.mark.parametrize(("users", "calibration"), [(10, 2), (100, 20), (200, 30), (299, 30), (301, 30), (1000, 100)])
def test_few_people_give_a_larger_share_to_calibration(users: int, calibration: int) -> None:
    assert len(numbered(list(range(users)) * 2).split(0).calibration) == calibration


@pytest.mark.parametrize("shares", [(0.0, 0.1), (0.2, 0.0), (0.9, 0.1), (1.5, 0.1), (-0.2, 0.1), (0.2, -0.1)])
def test_shares_that_leave_somebody_out_are_refused(shares: tuple[float, float]) -> None:
    with refused(PopulationError, "20 users", "at least one in each", "change the shares"):
        people(20).split(0, *shares)
