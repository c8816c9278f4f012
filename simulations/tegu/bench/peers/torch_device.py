"""Plain torch: autograd and `torch.optim.SGD`, one thread."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from tegu.bench.peers.prepared_task import PreparedTask, TimedRun
from tegu.bench.tasks.models import MODELS, cross_entropy
from tegu.bench.tasks.task import Task

__all__ = ["prepare_task"]


@contextmanager
def prepare_task(task: Task, folder: Path) -> Iterator[PreparedTask]:
    """See `tegu.bench.peers`. There is one model and optimiser. Every adaptation starts from the initial parameters."""
    del folder
    torch.set_num_threads(1)
    model, x, y = MODELS[task.settings.model].build(), torch.from_numpy(task.x), torch.from_numpy(task.y)
    optimiser = torch.optim.SGD(model.parameters(), lr=task.settings.lr)
    init = {name: torch.from_numpy(value) for name, value in task.init.items()}

    def adapt() -> None:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(init[name])
        for _ in range(task.settings.steps):
            optimiser.zero_grad()
            cross_entropy(model, x, y).backward()  # type: ignore[no-untyped-call] # torch leaves it bare
            optimiser.step()

    def repeat() -> TimedRun:
        began = time.perf_counter()
        for _ in range(task.settings.rounds):
            adapt()
        seconds = time.perf_counter() - began
        return TimedRun(seconds, [{name: value.detach().numpy() for name, value in model.named_parameters()}])

    adapt()
    yield PreparedTask(repeat, f"torch {torch.__version__}")
