"""Tegu in `tegu bench device`: the client's ONNX Runtime on a bundle, with one thread and without torch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from tegu.bench.peers.prepared_task import PreparedTask, TimedRun
from tegu.bench.tasks.task import Task
from tegu.client.runtimes.onnx_runtime import OnnxRuntime
from tegu.core.bundle.file import read_bundle
from tegu.core.data.batch import full_batch

__all__ = ["prepare_task"]


@contextmanager
def prepare_task(task: Task, folder: Path) -> Iterator[PreparedTask]:
    """See `tegu.bench.peers`."""
    bundle = read_bundle(folder / "init.tegu")
    runtime, support = OnnxRuntime(bundle.graphs), full_batch(task.x, task.y)
    knobs = {"steps": float(task.settings.steps), "lr": task.settings.lr, "prior": task.settings.prior}
    runtime.adapt(bundle.meta, support, knobs)

    def repeat() -> TimedRun:
        began = time.perf_counter()
        for _ in range(task.settings.rounds):
            state = runtime.adapt(bundle.meta, support, knobs)
        return TimedRun(time.perf_counter() - began, [state])

    yield PreparedTask(repeat, f"onnxruntime {version('onnxruntime')}")
