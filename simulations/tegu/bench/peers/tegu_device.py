"""Tegu's side of `tegu bench device`: the client's ONNX Runtime on a bundle, one thread. No torch is imported."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from tegu.bench.peers.prepared_task import Done, Ready

from tegu.bench.tasks.task import Task
from tegu.client.runtimes.onnx_runtime import OnnxRuntime
from tegu.core.bundle.file import read_bundle
from tegu.core.data.batch import full_batch

__all__ = ["opened"]


@contextmanager
def opened(task: Task, folder: Path) -> Iterator[Ready]:
    """See `tegu.bench.peers`."""
    bundle = read_bundle(folder / "init.tegu")
    runtime, support = OnnxRuntime(bundle.graphs), full_batch(task.x, task.y)
    knobs = {"steps": float(task.work.steps), "lr": task.work.lr, "prior": task.work.prior}
    runtime.adapt(bundle.meta, support, knobs)

    def repeat() -> Done:
        began = time.perf_counter()
        for _ in range(task.work.rounds):
            state = runtime.adapt(bundle.meta, support, knobs)
        return Done(time.perf_counter() - began, [state])

    yield Ready(repeat, f"onnxruntime {version('onnxruntime')}")
