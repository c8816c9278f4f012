from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tegu.bench.tasks.catalogue import ADAPTED, SIMULATED
from tests.bench.small import small_task

from tegu.bench.tasks.models import MODELS
from tegu.bench.tasks.task import read_task, write_task
from tegu.core.data.spec import check_rows
from tegu.core.sampling.episode import EpisodeRule


def test_a_task_reaches_another_process_whole(tmp_path: Path) -> None:
    task = small_task(fast=("2.weight",), rule=EpisodeRule(1, 2, 3), outer="AdamW", outer_options={"weight_decay": 0.5})
    write_task(tmp_path / "a", task)
    again = read_task(tmp_path / "a")
    assert again.work == task.work
    for name in ("x", "y", "user"):
        np.testing.assert_array_equal(getattr(again, name), getattr(task, name))
        assert getattr(again, name).dtype == getattr(task, name).dtype
    assert {name: value.tolist() for name, value in again.init.items()} == {
        name: value.tolist() for name, value in task.init.items()
    }


def test_rows_are_told_apart_by_user() -> None:
    task = small_task()
    assert task.users == 3
    assert [len(x) for x, _ in task.rows()] == [len(y) for _, y in task.rows()] == [4, 9, 6]
    np.testing.assert_array_equal(task.rows()[1][0], task.x[4:13])


@pytest.mark.parametrize(
    ("name", "users", "least", "most", "steps"),
    [("W1", 100, 10, 10, 5), ("W2", 20, 20, 20, 5), ("W3", 100, 2, 1500, 5), ("W4", 100, 5, 300, 5)],
)
def test_works_are_as_they_are_described(name: str, users: int, least: int, most: int, steps: int) -> None:
    task = SIMULATED[name]()
    counts = np.bincount(task.user)
    assert task.work.name == name
    assert (task.users, task.work.steps) == (users, steps)
    assert counts.min() >= least
    assert counts.max() <= most
    check_rows(MODELS[task.work.model].spec, task.x, task.y)


def test_users_of_w4_differ_widely() -> None:
    counts = np.bincount(SIMULATED["W4"]().user)
    assert counts.max() > 10 * counts.min()
    assert np.median(counts) == 30


@pytest.mark.parametrize("name", ADAPTED)
def test_the_device_adapts_to_ten_rows_in_ten_steps(name: str) -> None:
    task = ADAPTED[name]()
    assert (len(task.x), task.users, task.work.steps) == (10, 1, 10)


def test_the_cnn_is_leafs_with_256_hidden_units() -> None:
    shapes = {name: value.shape for name, value in ADAPTED["cnn"]().init.items() if name.endswith("weight")}
    assert list(shapes.values()) == [(32, 1, 5, 5), (64, 32, 5, 5), (256, 64 * 7 * 7), (62, 256)]
