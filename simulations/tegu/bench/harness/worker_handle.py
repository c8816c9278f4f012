"""Start a worker process and request repetitions from it. The program itself is `tegu.bench.harness.worker`."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tegu.core.bundle.file import tree_from_bytes
from tegu.core.data.tree import Tree
from tegu.core.errors import RuntimeFailure

__all__ = ["Repetition", "Worker", "start_worker"]

_LOG_TAIL = 1500  # characters of the log in an error


class Repetition(NamedTuple):
    """One timed repetition of a task by a worker.

    Attributes:
        seconds: time of the task alone, without loading.
        mebibytes: the process's peak resident memory so far.
        trees: parameters after every round.
    """

    seconds: float
    mebibytes: float
    trees: list[Tree]


@dataclass(frozen=True)
class Worker:
    """A running worker process whose task is loaded and warm. `start_worker` creates it.

    Attributes:
        name: "tegu" or the peer's name.
        process: the process.
        folder: the folder of its log and trees.
        description: versions and settings, as the worker reports them.
    """

    name: str
    process: subprocess.Popen[str]
    folder: Path
    description: str

    def repeat(self) -> Repetition:
        """Run the task once.

        Raises:
            RuntimeFailure: the worker has ended.
        """
        trees = self.folder / "trees"
        for old in trees.glob("*"):
            old.unlink()
        assert self.process.stdin is not None  # noqa: S101 # a pipe
        with suppress(BrokenPipeError):  # the log says why
            os.write(self.process.stdin.fileno(), f"{trees}\n".encode())
        answer = _read_answer(self.name, self.process, self.folder)
        kept = [tree_from_bytes(path.read_bytes()) for path in sorted(trees.iterdir())]
        return Repetition(answer["seconds"], answer["mebibytes"], kept)


@contextmanager
def start_worker(name: str, python: Path, module: str, task: Path, folder: Path) -> Iterator[Worker]:
    """Start a worker and wait until its task is loaded and warm. It ends with the context.

    Args:
        name: "tegu" or the peer's name, for errors.
        python: the interpreter that runs the worker.
        module: the implementation, see `tegu.bench.peers`.
        task: the task's folder.
        folder: the folder for its log and trees; created if absent.

    Raises:
        RuntimeFailure: the worker has ended. The message includes the end of its log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = [str(python), "-m", "tegu.bench.harness.worker", module, str(task)]
    with (folder / "log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(  # noqa: S603 # our own module
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )
    with process:  # on exit, closes its standard input, which ends it, and waits for it
        yield Worker(name, process, folder, _read_answer(name, process, folder)["description"])


def _read_answer(name: str, process: subprocess.Popen[str], folder: Path) -> dict[str, Any]:
    assert process.stdout is not None  # noqa: S101 # a pipe
    line = process.stdout.readline()
    if not line:
        code = process.wait()  # before reading the log, which is complete only then
        log = (folder / "log").read_text("utf-8", errors="replace")
        raise RuntimeFailure(
            f"{name} has ended with code {code}; fix the error at the end of its log:\n{log[-_LOG_TAIL:]}"
        )
    answer: dict[str, Any] = json.loads(line)
    return answer
