from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.bench.numpy_peer import small_task

from tegu.bench.tasks.catalogue import DEVICE_TASKS, SIMULATION_TASKS
from tegu.bench.tasks.models import MODELS
from tegu.bench.tasks.task import read_task, write_task
from tegu.core.data.spec import check_rows
from tegu.core.sampling.episode import EpisodeRule


def test_a_task_is_the_same_after_writing_and_reading(tmp_path: Path) -> None:
    task = small_task(
        adapted_parameters=("2.weight",),
        episodes=EpisodeRule(1, 2, 3),
        outer="AdamW",
        outer_options={"weight_decay": 0.5},
    )
    write_task(tmp_path / "a", task)
    read = read_task(tmp_path / "a")
    assert read.settings == task.settings
    for name in ("x", "y", "user"):
        np.testing.assert_array_equal(getattr(read, name), getattr(task, name))
        assert getattr(read, name).dtype == getattr(task, name).dtype
    assert {name: value.tolist() for name, value in read.init.items()} == {
        name: value.tolist() for name, value in task.init.items()
    }


def test_rows_are_split_by_user() -> None:
    task = small_task()
    assert task.users == 3
    assert [len(x) for x, _ in task.rows_by_user()] == [len(y) for _, y in task.rows_by_user()] == [4, 9, 6]
    np.testing.assert_array_equal(task.rows_by_user()[1][0], task.x[4:13])


@pytest.mark.parametrize(
    ("name", "users", "min_rows", "max_rows", "steps"),
    [("W1", 100, 10, 10, 5), ("W2", 20, 20, 20, 5), ("W3", 100, 2, 1500, 5), ("W4", 100, 5, 300, 5)],
)
def test_tasks_match_their_descriptions(name: str, users: int, min_rows: int, max_rows: int, steps: int) -> None:
    task = SIMULATION_TASKS[name]()
    counts = np.bincount(task.user)
    assert task.settings.name == name
    assert (task.users, task.settings.steps) == (users, steps)
    assert counts.min() >= min_rows
    assert counts.max() <= max_rows
    check_rows(MODELS[task.settings.model].spec, task.x, task.y)


def test_users_of_w4_differ_widely_in_rows() -> None:
    counts = np.bincount(SIMULATION_TASKS["W4"]().user)
    assert counts.max() > 10 * counts.min()
    assert np.median(counts) == 30


@pytest.mark.parametrize("name", DEVICE_TASKS)
def test_the_device_adapts_to_ten_rows_in_ten_steps(name: str) -> None:
    task = DEVICE_TASKS[name]()
    assert (len(task.x), task.users, task.settings.steps) == (10, 1, 10)


def test_the_cnn_is_leafs_with_256_hidden_units() -> None:
    shapes = {name: value.shape for name, value in DEVICE_TASKS["cnn"]().init.items() if name.endswith("weight")}
    assert list(shapes.values()) == [(32, 1, 5, 5), (64, 32, 5, 5), (256, 64 * 7 * 7), (62, 256)]
