"""Adapting to one user on the device, one thread: Tegu's client, ONNX Runtime's training build, and torch.

    mlp   10 SGD steps on 10 rows, MLP 64-64-10
    cnn   the same, the FEMNIST network

A time is seconds an adaptation, from the first parameters to the adapted ones, without loading.
"""

from __future__ import annotations

from pathlib import Path

import torch
from tegu.bench.harness.comparison import Comparison
from tegu.bench.harness.options import Request
from tegu.bench.harness.run_benchmark import Contest, compare
from tegu.bench.peers.catalogue import DEVICE
from tegu.bench.tasks.catalogue import ADAPTED

from tegu.bench.tasks.learners import make_learner
from tegu.bench.tasks.models import MODELS
from tegu.bench.tasks.task import Task
from tegu.compile import make_bundle
from tegu.compile.tracing.translate import quiet
from tegu.core.bundle.file import write_bundle

__all__ = ["bench_device", "prepare"]


def bench_device(request: Request) -> list[Comparison]:
    """Compare adaptations; see `tegu.bench.harness.run_benchmark.compare`."""
    contest = Contest(
        works=ADAPTED,
        module="tegu.bench.peers.tegu_device",
        peers=DEVICE,
        prepare=prepare,
        units=lambda task: task.work.rounds,
    )
    return compare(contest, request)


def prepare(task: Task, folder: Path) -> None:
    """Write the task as a bundle, `init.tegu`, and the model alone as a graph, `forward.onnx`."""
    write_bundle(folder / "init.tegu", make_bundle(make_learner(task.work), task.init))
    model = MODELS[task.work.model].build().eval()
    model.load_state_dict({name: torch.from_numpy(value) for name, value in task.init.items()})
    with quiet():
        program = torch.onnx.export(model, (torch.from_numpy(task.x),), dynamo=True, opset_version=18, verbose=False)
    assert program is not None  # noqa: S101 # as dynamo is asked for
    program.save(str(folder / "forward.onnx"))
