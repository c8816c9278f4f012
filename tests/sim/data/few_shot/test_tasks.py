"""Populations of N-way tasks: disjoint classes, K rows of each label, and rows that tasks share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tegu.core.data.batch import Array
from tegu.core.data.spec import Spec
from tegu.core.data.users import read_users, write_users
from tegu.core.errors import DataError, PopulationError
from tegu.core.sampling.episode import EpisodeRule, draw_episode, episode_key
from tegu.core.sampling.leakage import units_of_user
from tegu.sim.data.cohort import draw_cohort, gather
from tegu.sim.data.few_shot.tasks import Tasks, few_shot_population
from tegu.sim.data.population import Population
from tegu.sim.data.population_on_disk import read_population, write_population
from tegu.sim.data.trials import draw_trials

CLASSES, ROWS = 14, 6
LABEL = np.repeat(np.arange(CLASSES), ROWS)
PARTS = {
    "train": Tasks(range(6), 9, 4),
    "calibration": Tasks(range(6, 10), 3, 3),
    "heldout": Tasks(range(10, 14), 5, 3, rows=4),
}


def rows() -> Array:
    """Each row is its own number and its class, so that it can be told apart."""
    return np.stack([np.arange(len(LABEL)), LABEL], 1).astype(np.float32)


def population(x: Array | None = None, seed: int = 0) -> Population:
    return few_shot_population(rows() if x is None else x, LABEL, **PARTS, seed=seed)


def test_a_task_has_its_ways_and_each_label_is_one_class_of_the_part() -> None:
    split = population().split(0)
    assert [len(part) for part in split] == [9, 3, 5]
    for part, tasks in zip(split, PARTS.values(), strict=True):
        for user in range(len(part)):
            x, y = part.rows(user)
            pairs = {(int(label), int(row[1])) for row, label in zip(x, y, strict=True)}
            assert len(pairs) == tasks.ways == len({label for label, _ in pairs}) == len({name for _, name in pairs})
            assert {name for _, name in pairs} <= set(tasks.classes)
            assert np.bincount(y).tolist() == [tasks.rows or ROWS] * tasks.ways
    labels = [{int(x[1]): int(y) for x, y in zip(*split.train.rows(user), strict=True)} for user in range(9)]
    assert len({each.get(0, -1) for each in labels}) > 1, "labels are drawn anew for each task"


def test_the_seed_determines_the_tasks_and_pictures_are_kept_once() -> None:
    first, again, other = population(), population(), population(seed=1)
    assert (first.all_rows()[0] == again.all_rows()[0]).all()
    assert (first.all_rows()[0] != other.all_rows()[0]).any()
    assert len(first.x) == len(LABEL) < first.counts.sum()


def test_a_support_has_k_rows_of_each_label_and_the_query_the_others() -> None:
    for part, tasks in zip(population().split(0), PARTS.values(), strict=True):
        for shots in (1, 2, 3):
            trials = draw_trials(part, shots * tasks.ways, 0, draws=3).trials
            assert len(trials) == 3 * tasks.number
            for trial in trials:
                assert np.bincount(trial.support.y).tolist() == [shots] * tasks.ways
                assert np.bincount(trial.query.y).tolist() == [(tasks.rows or ROWS) - shots] * tasks.ways
                assert not {row.tobytes() for row in trial.support.x} & {row.tobytes() for row in trial.query.x}


def test_a_round_draws_what_each_device_would_with_any_number_of_shots() -> None:
    train, rule = population().split(0).train, EpisodeRule(1, 13, 7)
    sizes = set()
    for number in range(1, 9):
        cohort = draw_cohort(train, np.arange(len(train)), rule, 3, number)
        support, query = gather(cohort, cohort.max_rows)
        for place in range(len(train)):
            user = train.local(place)
            alone = draw_episode(user.x, user.y, rule, episode_key(3, number, user.user), units_of_user(user))
            for batch, expected in ((support, alone.support), (query, alone.query)):
                own = int(batch.mask[place].sum())
                assert batch.x[place, :own].tolist() == expected.x.tolist()
                assert batch.y[place, :own].tolist() == expected.y.tolist()
            assert len(set(np.bincount(alone.support.y, minlength=4).tolist())) == 1
            sizes.add(len(alone.support.y))
    assert sizes == {4, 8, 12}


def test_tasks_of_one_person_have_that_persons_rows_only() -> None:
    person = np.tile(np.repeat([0, 1], ROWS // 2), CLASSES)
    drawn = few_shot_population(rows(), LABEL, **{**PARTS, "heldout": Tasks(range(10, 14), 5, 3)}, user=person)
    for user in range(len(drawn)):
        numbers = drawn.rows(user)[0][:, 0].astype(int)
        assert len(set(person[numbers].tolist())) == 1
    assert len({int(person[int(drawn.rows(user)[0][0, 0])]) for user in range(len(drawn))}) == 2


def test_equal_pictures_are_never_in_support_and_query() -> None:
    x = rows()
    x[1] = x[0]
    x[7] = x[6] = x[8]
    train = population(x).split(0).train
    for trial in draw_trials(train, 8, 0, draws=20).trials:
        assert not {row.tobytes() for row in trial.support.x} & {row.tobytes() for row in trial.query.x}
        assert np.bincount(trial.support.y).tolist() == [2] * 4


def test_devices_and_files_draw_the_same_trials(tmp_path: Path) -> None:
    heldout = population().split(0).heldout
    local = [heldout.local(user) for user in range(len(heldout))]
    write_users(tmp_path / "node.npz", local)
    assert all(user.balanced for user in read_users(tmp_path / "node.npz", heldout.spec))
    write_population(tmp_path / "disk", heldout.spec, local)
    again = read_population(tmp_path / "disk")
    here, there = (draw_trials(users, 3, 0) for users in (heldout, again))
    assert [each.support.x.tolist() for each in here.trials] == [each.support.x.tolist() for each in there.trials]
    with pytest.raises(DataError, match="balanced"):
        write_population(tmp_path / "mixed", heldout.spec, [local[0], local[1]._replace(balanced=False)])


def test_what_cannot_be_drawn_is_an_error() -> None:
    with pytest.raises(PopulationError, match="heldout has 4 classes of 2 rows or more: expected 5"):
        few_shot_population(rows(), LABEL, **{**PARTS, "heldout": Tasks(range(10, 14), 5, 5)})
    with pytest.raises(DataError, match="class 5 is in train and in heldout"):
        few_shot_population(rows(), LABEL, **{**PARTS, "heldout": Tasks(range(5, 14), 5, 3)})
    with pytest.raises(DataError, match="expected 4 classes or more"):
        few_shot_population(rows(), LABEL, **PARTS, spec=Spec.classification((2,), 3))
    with pytest.raises(DataError, match="balanced"):
        Population.from_arrays(rows(), LABEL, np.zeros(len(LABEL)), order=True, balanced=True, kind="classification")
    with pytest.raises(DataError, match="balanced is True for regression"):
        Population.from_arrays(rows(), rows()[:, 0] / 7, np.zeros(len(LABEL)), balanced=True, kind="regression")


def test_unbalanced_users_give_equally_many_of_each_label_too() -> None:
    """The README's way: arrays, with labels that differ in number."""
    label = np.repeat([0, 1, 2], [2, 5, 9])
    drawn = Population.from_arrays(np.arange(16.0), label, np.zeros(16), balanced=True, kind="classification")
    assert drawn.max_support.tolist() == [3]
    (trial,) = draw_trials(drawn, 3, 0, draws=1).trials
    assert sorted(trial.support.y.tolist()) == [0, 1, 2]
    assert len(trial.query.y) == 13
