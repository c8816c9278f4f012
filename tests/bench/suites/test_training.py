"""`tegu bench training`: the plain losses are the learners' own, and both sides train."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tegu.bench.harness.options import BenchmarkOptions
from tegu.bench.peers.torch_learners.task import Rows
from tegu.bench.peers.torch_learners.training import LOSSES, Tasks, train, update
from tegu.bench.suites import training
from tegu.core.data.batch import Batch
from tegu.core.data.tree import Tree
from tegu.core.errors import UnknownNameError
from tegu.learners import LEARNERS

NAMES = ("reptile", *LOSSES)
TASKS, SUPPORT, QUERY, FEATURES = 3, 5, 10, 16


def rows_of_tasks(noise: int) -> Rows:
    generator = torch.Generator().manual_seed(1)
    labels = torch.stack([torch.randperm(SUPPORT, generator=generator) for _ in range(TASKS)])
    x, query = (torch.randn(TASKS, rows, FEATURES, generator=generator) for rows in (SUPPORT, QUERY))
    return Rows(x, labels, query, labels.repeat(1, 2), torch.randn(TASKS, noise, generator=generator))


@pytest.mark.parametrize("name", NAMES)
def test_the_plain_update_is_the_learners(name: str) -> None:
    learner, generator = training.learner_of(name), torch.Generator().manual_seed(2)
    meta = {
        key: torch.from_numpy(value) + 0.02 * torch.randn(value.shape, generator=generator)
        for key, value in learner.init(0).items()
    }
    rows = rows_of_tasks(learner.noise)
    found = update(name, meta, rows)
    each = [
        learner.update(meta, Batch(x, y, torch.ones(SUPPORT)), Batch(query_x, query_y, torch.ones(QUERY)), noise)
        for x, y, query_x, query_y, noise in zip(*rows, strict=True)
    ]
    assert found.keys() == each[0].keys()
    for key in found:
        expected = torch.stack([one[key] for one in each]).mean(0)
        torch.testing.assert_close(found[key], expected, rtol=1e-3, atol=1e-5 + 1e-4 * float(expected.abs().max()))


def test_every_learner_of_the_field_is_compared() -> None:
    assert set(LEARNERS) - set(NAMES) == {"residual_correction"}  # `tegu bench default` has its own comparison


def test_the_plain_loop_learns() -> None:
    tasks = training.tasks_of_vectors()
    learner = training.learner_of("prototypical_networks")
    first = learner.init(0)
    after = train(learner.name, tasks, first, rounds=60, cohort=16, lr=0.003)
    assert loss_of(after, tasks) < 0.9 * loss_of(first, tasks)


def loss_of(meta: Tree, tasks: Tasks) -> float:
    x = torch.from_numpy(tasks.x)
    labels = torch.arange(x.shape[1])
    rows = [Rows(each[:, 0], labels, each[:, 1], labels, torch.zeros(0)) for each in x[:50]]
    tree = {key: torch.from_numpy(np.asarray(value)) for key, value in meta.items()}
    return float(torch.stack([LOSSES["prototypical_networks"](tree, each) for each in rows]).mean())


def test_both_sides_run_in_turn() -> None:
    lines: list[str] = []
    found = training.compare_learner("matching_networks", 1, BenchmarkOptions(2, lines.append))
    assert (found.task, found.peer, len(found.tegu), len(found.other)) == ("matching_networks", "torch-vmap", 2, 2)
    assert min([*found.tegu, *found.other]) > 0
    assert len(lines) == 2


def test_an_unknown_learner_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="'W1'"):
        training.bench_training(BenchmarkOptions(1, lambda text: None, tasks=["W1"]))
