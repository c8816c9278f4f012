"""Plain torch: autograd and `torch.optim.SGD`, one thread."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from tegu.bench.peers.prepared_task import Done, Ready

from tegu.bench.tasks.models import MODELS, loss_of
from tegu.bench.tasks.task import Task

__all__ = ["opened"]


@contextmanager
def opened(task: Task, folder: Path) -> Iterator[Ready]:
    """See `tegu.bench.peers`. Model and optimiser are made once; every adaptation begins at the first parameters."""
    del folder
    torch.set_num_threads(1)
    model, x, y = MODELS[task.work.model].build(), torch.from_numpy(task.x), torch.from_numpy(task.y)
    optimiser = torch.optim.SGD(model.parameters(), lr=task.work.lr)
    init = {name: torch.from_numpy(value) for name, value in task.init.items()}

    def adapt() -> None:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(init[name])
        for _ in range(task.work.steps):
            optimiser.zero_grad()
            loss_of(model, x, y).backward()  # type: ignore[no-untyped-call] # torch leaves it bare
            optimiser.step()

    def repeat() -> Done:
        began = time.perf_counter()
        for _ in range(task.work.rounds):
            adapt()
        seconds = time.perf_counter() - began
        return Done(seconds, [{name: value.detach().numpy() for name, value in model.named_parameters()}])

    adapt()
    yield Ready(repeat, f"torch {torch.__version__}")
