"""Adapting to one user on the device, one thread: Tegu's client, ONNX Runtime's training build, and torch.

    mlp   10 SGD steps on 10 rows, MLP 64-64-10
    cnn   10 SGD steps on 10 rows, the FEMNIST network

Times are seconds per adaptation, from the initial parameters to the adapted ones, without loading.
"""

from __future__ import annotations

from pathlib import Path

import torch

from tegu.bench.harness.comparison import Comparison
from tegu.bench.harness.options import BenchmarkOptions
from tegu.bench.harness.run_benchmark import BenchmarkSetup, run_benchmark
from tegu.bench.peers.catalogue import DEVICE_PEERS
from tegu.bench.tasks.catalogue import DEVICE_TASKS
from tegu.bench.tasks.learners import make_learner
from tegu.bench.tasks.models import MODELS
from tegu.bench.tasks.task import Task
from tegu.compile import make_bundle
from tegu.compile.quiet import quiet
from tegu.core.bundle.file import write_bundle

__all__ = ["bench_device", "write_device_files"]


def bench_device(options: BenchmarkOptions) -> list[Comparison]:
    """Compare the time of adaptations; see `tegu.bench.harness.run_benchmark.run_benchmark`."""
    setup = BenchmarkSetup(
        tasks=DEVICE_TASKS,
        module="tegu.bench.peers.tegu_device",
        peers=DEVICE_PEERS,
        write_files=write_device_files,
        units=lambda task: task.settings.rounds,
    )
    return run_benchmark(setup, options)


def write_device_files(task: Task, folder: Path) -> None:
    """Write the task as a bundle, `init.tegu`, and the model's own graph, `forward.onnx`."""
    write_bundle(folder / "init.tegu", make_bundle(make_learner(task.settings), task.init))
    model = MODELS[task.settings.model].build().eval()
    model.load_state_dict({name: torch.from_numpy(value) for name, value in task.init.items()})
    with quiet():
        program = torch.onnx.export(model, (torch.from_numpy(task.x),), dynamo=True, opset_version=18, verbose=False)
    assert program is not None  # noqa: S101 # as dynamo is asked for
    program.save(str(folder / "forward.onnx"))
