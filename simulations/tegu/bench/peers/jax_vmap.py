"""JAX without a framework: one compiled function a round, `jit(vmap(local training))`, mean and server step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tegu.bench.peers.prepared_task import Done, Ready

from tegu.bench.tasks.task import Task, Work

__all__ = ["opened"]


@contextmanager
def opened(task: Task, folder: Path) -> Iterator[Ready]:
    """See `tegu.bench.peers`. Users are of one size, and the model is the MLP."""
    del folder
    x, y = (jnp.stack(parts) for parts in zip(*task.rows(), strict=True))
    one_round = _round(task.work)
    init = {name: jnp.asarray(value) for name, value in task.init.items()}
    jax.block_until_ready(one_round(init, x, y))

    def repeat() -> Done:
        metas, meta = [], init
        began = time.perf_counter()
        for _ in range(task.work.rounds):
            meta = one_round(meta, x, y)
            metas.append(meta)
        jax.block_until_ready(meta)
        seconds = time.perf_counter() - began
        return Done(seconds, [{name: np.asarray(value) for name, value in kept.items()} for kept in metas])

    yield Ready(repeat, f"jax {jax.__version__}")


def _round(work: Work) -> Any:
    def loss(meta: Any, x: Any, y: Any) -> Any:
        hidden = jax.nn.relu(x @ meta["0.weight"].T + meta["0.bias"])
        logits = hidden @ meta["2.weight"].T + meta["2.bias"]
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1).mean()

    def local(meta: Any, x: Any, y: Any) -> Any:
        adapted = meta
        for _ in range(work.steps):
            gradients = jax.grad(loss)(adapted, x, y)
            adapted = {name: adapted[name] - work.lr * gradients[name] for name in adapted}
        return {name: meta[name] - adapted[name] for name in meta}

    def one_round(meta: Any, x: Any, y: Any) -> Any:
        updates = jax.vmap(local, in_axes=(None, 0, 0))(meta, x, y)
        return {name: meta[name] - work.outer_lr * updates[name].mean(0) for name in meta}

    return jax.jit(one_round)
