"""ONNX Runtime's own training build, discontinued after 1.19.2: one thread, its SGD.

Its artifacts are generated from the forward graph `forward.onnx` of the task's folder.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnxruntime.training import artifacts
from onnxruntime.training.api import CheckpointState, Module, Optimizer
from tegu.bench.peers.prepared_task import Done, Ready

from tegu.bench.tasks.task import Task

__all__ = ["opened"]

_IR_VERSION = 10  # the newest that 1.19.2 reads
_ERRORS = 3


@contextmanager
def opened(task: Task, folder: Path) -> Iterator[Ready]:
    """See `tegu.bench.peers`. Every adaptation begins at the first parameters."""
    onnxruntime.set_default_logger_severity(_ERRORS)
    _generate(folder, list(task.init))
    state = CheckpointState.load_checkpoint(str(folder / "checkpoint"))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    paths = [str(folder / f"{name}_model.onnx") for name in ("training", "eval", "optimizer")]
    module = Module(paths[0], state, paths[1], "cpu", options)
    optimiser = Optimizer(paths[2], module)
    optimiser.set_learning_rate(task.work.lr)
    first = module.get_contiguous_parameters()

    def adapt() -> None:
        module.copy_buffer_to_parameters(first)
        for _ in range(task.work.steps):
            module(task.x, task.y)
            optimiser.step()
            module.lazy_reset_grad()

    def repeat() -> Done:
        module.train()
        began = time.perf_counter()
        for _ in range(task.work.rounds):
            adapt()
        seconds = time.perf_counter() - began
        return Done(seconds, [_parameters(state, task)])

    adapt()
    yield Ready(repeat, f"onnxruntime-training {onnxruntime.__version__}, numpy {np.__version__}")


def _generate(folder: Path, names: Sequence[str]) -> None:
    artifacts.generate_artifacts(
        onnx.load(str(folder / "forward.onnx")),
        requires_grad=list(names),
        loss=artifacts.LossType.CrossEntropyLoss,
        optimizer=artifacts.OptimType.SGD,
        artifact_directory=str(folder),
    )
    for path in folder.glob("*_model.onnx"):
        model = onnx.load(str(path))
        model.ir_version = min(model.ir_version, _IR_VERSION)  # today's onnx marks what it writes with its own
        onnx.save(model, str(path))


def _parameters(state: Any, task: Task) -> dict[str, Any]:
    return {name: np.array(state.parameters[name].data) for name in task.init}
