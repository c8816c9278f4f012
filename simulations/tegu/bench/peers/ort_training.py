"""ONNX Runtime's training build, discontinued after 1.19.2: its own SGD on one thread.

It generates its training graphs from the model's graph, `forward.onnx` in the task's folder.
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

from tegu.bench.peers.prepared_task import PreparedTask, TimedRun
from tegu.bench.tasks.task import Task

__all__ = ["prepare_task"]

_IR_VERSION = 10  # the newest that 1.19.2 reads
_ERRORS_ONLY = 3


@contextmanager
def prepare_task(task: Task, folder: Path) -> Iterator[PreparedTask]:
    """See `tegu.bench.peers`. Every adaptation starts from the initial parameters."""
    onnxruntime.set_default_logger_severity(_ERRORS_ONLY)
    _generate_training_graphs(folder, list(task.init))
    state = CheckpointState.load_checkpoint(str(folder / "checkpoint"))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    paths = [str(folder / f"{name}_model.onnx") for name in ("training", "eval", "optimizer")]
    module = Module(paths[0], state, paths[1], "cpu", options)
    optimiser = Optimizer(paths[2], module)
    optimiser.set_learning_rate(task.settings.lr)
    initial = module.get_contiguous_parameters()

    def adapt() -> None:
        module.copy_buffer_to_parameters(initial)
        for _ in range(task.settings.steps):
            module(task.x, task.y)
            optimiser.step()
            module.lazy_reset_grad()

    def repeat() -> TimedRun:
        module.train()
        began = time.perf_counter()
        for _ in range(task.settings.rounds):
            adapt()
        seconds = time.perf_counter() - began
        return TimedRun(seconds, [_parameters(state, task)])

    adapt()
    yield PreparedTask(repeat, f"onnxruntime-training {onnxruntime.__version__}, numpy {np.__version__}")


def _generate_training_graphs(folder: Path, names: Sequence[str]) -> None:
    artifacts.generate_artifacts(
        onnx.load(str(folder / "forward.onnx")),
        requires_grad=list(names),
        loss=artifacts.LossType.CrossEntropyLoss,
        optimizer=artifacts.OptimType.SGD,
        artifact_directory=str(folder),
    )
    for path in folder.glob("*_model.onnx"):
        model = onnx.load(str(path))
        model.ir_version = min(model.ir_version, _IR_VERSION)  # onnx writes the newest version that it knows
        onnx.save(model, str(path))


def _parameters(state: Any, task: Task) -> dict[str, Any]:
    return {name: np.array(state.parameters[name].data) for name in task.init}
