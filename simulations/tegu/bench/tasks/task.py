"""A task as plain values and arrays, and the folder of files that carries it to other processes without pickle."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from tegu.core.bundle.file import tree_from_bytes, tree_to_bytes
from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree
from tegu.core.sampling.episode import EpisodeRule

__all__ = ["Task", "TaskSettings", "read_task", "write_task"]


@dataclass(frozen=True)
class TaskSettings:
    """How a model is trained or adapted.

    Attributes:
        name: name of the task, as in the rows of `tegu bench --json`.
        model: key of `tegu.bench.tasks.models.MODELS`.
        steps: number of full-batch SGD steps of one user.
        lr: learning rate of these steps.
        prior: the step size for n rows is `lr * n / (n + prior)`.
        adapted_parameters: names of the parameters that a user adapts; None for all.
        rounds: rounds of one timed repetition; on the device, adaptations.
        outer: the server's optimiser, a class name of `torch.optim`.
        outer_lr: learning rate of the server's optimiser.
        outer_options: further options of the server's optimiser.
        episodes: how a user's rows are split into support and query. If all parameters adapt, an update uses the rows
            of both; the default takes every row and needs the least padding.
    """

    name: str
    model: str
    steps: int
    lr: float
    prior: float = 0.0
    adapted_parameters: tuple[str, ...] | None = None
    rounds: int = 1
    outer: str = "SGD"
    outer_lr: float = 1.0
    outer_options: dict[str, float] = field(default_factory=dict)
    episodes: EpisodeRule = field(default_factory=lambda: EpisodeRule(1, 1, 10_000))


@dataclass(frozen=True)
class Task:
    """A task's settings, rows and initial parameters. Every user takes part in every round.

    Attributes:
        settings: how to train.
        x: inputs, `[rows, ...]`.
        y: targets, `[rows]`.
        user: index of each row's user, int64 `[rows]`: 0, 1, ..., ascending.
        init: initial parameters.
    """

    settings: TaskSettings
    x: Array
    y: Array
    user: Array
    init: Tree

    @property
    def users(self) -> int:
        """Number of users."""
        return int(self.user[-1]) + 1

    def rows_by_user(self) -> list[tuple[Array, Array]]:
        """`x` and `y` of each user."""
        ends = np.searchsorted(self.user, np.arange(1, self.users))
        return list(zip(np.split(self.x, ends), np.split(self.y, ends), strict=True))


def write_task(folder: Path, task: Task) -> None:
    """Write `settings.json`, `rows.npz` and `init.safetensors` to the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.json").write_text(json.dumps(asdict(task.settings)), encoding="utf-8")
    np.savez(folder / "rows.npz", x=task.x, y=task.y, user=task.user)
    (folder / "init.safetensors").write_bytes(tree_to_bytes(task.init))


def read_task(folder: Path) -> Task:
    """Read a task that `write_task` has written."""
    values = json.loads((folder / "settings.json").read_text("utf-8"))
    adapted = None if values["adapted_parameters"] is None else tuple(values["adapted_parameters"])
    episodes = EpisodeRule(**values["episodes"])
    settings = TaskSettings(**{**values, "adapted_parameters": adapted, "episodes": episodes})
    with np.load(folder / "rows.npz") as rows:
        x, y, user = (rows[name] for name in ("x", "y", "user"))
    return Task(settings, x, y, user, tree_from_bytes((folder / "init.safetensors").read_bytes()))
