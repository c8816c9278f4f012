"""A peer in plain numpy that a worker can run, and a small task with its expected parameters."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from tegu.bench.peers.prepared_task import PreparedTask, TimedRun
from tegu.bench.tasks.catalogue import synthetic_task
from tegu.bench.tasks.task import Task, TaskSettings
from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree


def small_task(**changes: object) -> Task:
    """Three users of 4, 9 and 6 rows, two rounds of two steps."""
    settings = replace(TaskSettings("small", "mlp", steps=2, lr=0.2, rounds=2, outer_lr=0.5), **changes)
    return synthetic_task(settings, [4, 9, 6])


def logits(tree: Tree, x: Array) -> tuple[Array, Array]:
    hidden = np.maximum(x @ tree["0.weight"].T + tree["0.bias"], 0)
    return hidden, hidden @ tree["2.weight"].T + tree["2.bias"]


def softmax(scores: Array) -> Array:
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def sgd_step(tree: Tree, x: Array, y: Array, lr: float) -> Tree:
    """One SGD step of the MLP on the mean cross-entropy, its gradient by hand."""
    hidden, scores = logits(tree, x)
    error = (softmax(scores) - np.eye(10)[y]) / len(x)
    back = (error @ tree["2.weight"]) * (hidden > 0)
    gradient = {"0.weight": back.T @ x, "0.bias": back.sum(0), "2.weight": error.T @ hidden, "2.bias": error.sum(0)}
    return {name: tree[name] - lr * gradient[name] for name in tree}


def adapt(task: Task, tree: Tree, x: Array, y: Array) -> Tree:
    for _ in range(task.settings.steps):
        tree = sgd_step(tree, x, y, task.settings.lr)
    return tree


def reptile_rounds(task: Task) -> list[Tree]:
    """Parameters after every round of Reptile."""
    meta, metas = {name: value.astype(np.float64) for name, value in task.init.items()}, []
    for _ in range(task.settings.rounds):
        adapted = [adapt(task, meta, x, y) for x, y in task.rows_by_user()]
        mean = {name: np.mean([each[name] for each in adapted], 0) for name in meta}
        meta = {name: meta[name] + task.settings.outer_lr * (mean[name] - meta[name]) for name in meta}
        metas.append(meta)
    return [{name: value.astype(np.float32) for name, value in meta.items()} for meta in metas]


@contextmanager
def prepare_task(task: Task, folder: Path) -> Iterator[PreparedTask]:
    """The peer. It also prints. A file `lazy` in the folder makes it omit a step, a file `broken` makes it exit."""
    print("loading")
    lazy = (folder / "lazy").exists()
    actual = replace(task, settings=replace(task.settings, steps=task.settings.steps - 1)) if lazy else task
    if (folder / "broken").exists():
        sys.exit("it is broken on purpose")

    def repeat() -> TimedRun:
        os.write(1, b"a library that prints\n")
        return TimedRun(0.25, reptile_rounds(actual))

    yield PreparedTask(repeat, "plain numpy")
