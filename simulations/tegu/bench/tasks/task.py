"""A work as plain values and arrays, and its way to other processes: a folder that needs no pickle."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from tegu.core.bundle.file import tree_from_bytes, tree_to_bytes
from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree
from tegu.core.sampling.episode import EpisodeRule

__all__ = ["Task", "Work", "read_task", "write_task"]


@dataclass(frozen=True)
class Work:
    """How a model is trained or adapted.

    Attributes:
        name: as in the rows of `tegu bench --json`.
        model: a name in `tegu.bench.tasks.models.MODELS`.
        steps: full-batch SGD steps of one user.
        lr: their step size.
        prior: with n rows a step is `lr * n / (n + prior)`.
        fast: parameters that adapt; None for all.
        rounds: of one timed repetition (adaptations, on the device).
        outer: the server's optimiser, as in torch.optim.
        outer_lr: its step size.
        outer_options: its further options.
        rule: split into support and query. Where all parameters adapt, an update uses the rows of both, and the
            default is the split that takes every row and pads least.
    """

    name: str
    model: str
    steps: int
    lr: float
    prior: float = 0.0
    fast: tuple[str, ...] | None = None
    rounds: int = 1
    outer: str = "SGD"
    outer_lr: float = 1.0
    outer_options: dict[str, float] = field(default_factory=dict)
    rule: EpisodeRule = field(default_factory=lambda: EpisodeRule(1, 1, 10_000))


@dataclass(frozen=True)
class Task:
    """A work with its rows and first parameters. Every user takes part in every round.

    Attributes:
        work: how to train.
        x: inputs, `[rows, ...]`.
        y: targets, `[rows]`.
        user: int64 `[rows]`, whose row it is: 0, 1, ..., in order.
        init: first parameters.
    """

    work: Work
    x: Array
    y: Array
    user: Array
    init: Tree

    @property
    def users(self) -> int:
        """How many there are."""
        return int(self.user[-1]) + 1

    def rows(self) -> list[tuple[Array, Array]]:
        """`x` and `y`, user by user."""
        ends = np.searchsorted(self.user, np.arange(1, self.users))
        return list(zip(np.split(self.x, ends), np.split(self.y, ends), strict=True))


def write_task(folder: Path, task: Task) -> None:
    """Write `work.json`, `rows.npz` and `init.safetensors`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "work.json").write_text(json.dumps(asdict(task.work)), encoding="utf-8")
    np.savez(folder / "rows.npz", x=task.x, y=task.y, user=task.user)
    (folder / "init.safetensors").write_bytes(tree_to_bytes(task.init))


def read_task(folder: Path) -> Task:
    """What `write_task` wrote."""
    values = json.loads((folder / "work.json").read_text("utf-8"))
    fast = None if values["fast"] is None else tuple(values["fast"])
    work = Work(**{**values, "fast": fast, "rule": EpisodeRule(**values["rule"])})
    with np.load(folder / "rows.npz") as rows:
        x, y, user = (rows[name] for name in ("x", "y", "user"))
    return Task(work, x, y, user, tree_from_bytes((folder / "init.safetensors").read_bytes()))
