"""JAX without a framework: one compiled function runs a round, with `vmap` over users and the server's step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tegu.bench.peers.prepared_task import PreparedTask, TimedRun
from tegu.bench.tasks.task import Task, TaskSettings

__all__ = ["prepare_task"]


@contextmanager
def prepare_task(task: Task, folder: Path) -> Iterator[PreparedTask]:
    """See `tegu.bench.peers`. All users have the same number of rows, and the model is the MLP."""
    del folder
    x, y = (jnp.stack(parts) for parts in zip(*task.rows_by_user(), strict=True))
    one_round = _compile_round(task.settings)
    init = {name: jnp.asarray(value) for name, value in task.init.items()}
    jax.block_until_ready(one_round(init, x, y))

    def repeat() -> TimedRun:
        metas, meta = [], init
        began = time.perf_counter()
        for _ in range(task.settings.rounds):
            meta = one_round(meta, x, y)
            metas.append(meta)
        jax.block_until_ready(meta)
        seconds = time.perf_counter() - began
        return TimedRun(seconds, [{name: np.asarray(value) for name, value in kept.items()} for kept in metas])

    yield PreparedTask(repeat, f"jax {jax.__version__}")


def _compile_round(settings: TaskSettings) -> Any:
    def loss(meta: Any, x: Any, y: Any) -> Any:
        hidden = jax.nn.relu(x @ meta["0.weight"].T + meta["0.bias"])
        logits = hidden @ meta["2.weight"].T + meta["2.bias"]
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1).mean()

    def local(meta: Any, x: Any, y: Any) -> Any:
        adapted = meta
        for _ in range(settings.steps):
            gradients = jax.grad(loss)(adapted, x, y)
            adapted = {name: adapted[name] - settings.lr * gradients[name] for name in adapted}
        return {name: meta[name] - adapted[name] for name in meta}

    def one_round(meta: Any, x: Any, y: Any) -> Any:
        updates = jax.vmap(local, in_axes=(None, 0, 0))(meta, x, y)
        return {name: meta[name] - settings.outer_lr * updates[name].mean(0) for name in meta}

    return jax.jit(one_round)
