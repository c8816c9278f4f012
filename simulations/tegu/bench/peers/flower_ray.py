"""Flower's Ray simulation: a plain ServerApp and ClientApp with torch, in two processes of one thread each."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from tegu.bench.peers.prepared_task import PreparedTask, TimedRun
from tegu.bench.tasks.task import Task
from tegu.core.bundle.file import tree_from_bytes
from tegu.core.errors import FederationError
from tegu.server.deployment import local_simulation

__all__ = ["prepare_task"]

_APP = Path(__file__).parent / "flower_app"
_LOG_TAIL = 2000  # characters of the log in an error


@contextmanager
def prepare_task(task: Task, folder: Path) -> Iterator[PreparedTask]:
    """See `tegu.bench.peers`. Every repetition is a separate run on the same SuperLink."""
    with (
        tempfile.TemporaryDirectory(prefix="tegu-flower-") as name,
        local_simulation(_APP, Path(name) / "flower", task.users) as flower,
    ):

        def repeat() -> TimedRun:
            out = Path(tempfile.mkdtemp(dir=name)) / "out"
            run = flower.run({"task": str(folder.resolve()), "out": str(out)})
            if not run.completed:
                raise FederationError(
                    f"the run on Ray is {run.status}; fix the error at the end of its log:\n{run.log[-_LOG_TAIL:]}"
                )
            seconds = float(json.loads((out / "seconds.json").read_text("utf-8")))
            return TimedRun(seconds, [tree_from_bytes(path.read_bytes()) for path in sorted(out.glob("*.safetensors"))])

        yield PreparedTask(repeat, f"flwr {version('flwr')}, ray {version('ray')}")
