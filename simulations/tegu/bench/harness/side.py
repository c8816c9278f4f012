"""The caller's end of a worker process."""

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

__all__ = ["Repetition", "Side", "side"]

_TAIL = 1500  # characters of the log in an error


class Repetition(NamedTuple):
    """What one timed repetition took and gave.

    Attributes:
        seconds: of the work alone.
        mebibytes: the process's largest resident size so far.
        trees: parameters after every round.
    """

    seconds: float
    mebibytes: float
    trees: list[Tree]


@dataclass(frozen=True)
class Side:
    """A worker that is ready. Made by `side`.

    Attributes:
        name: of the side.
        process: the worker.
        folder: for its log and its trees.
        note: what it said of itself.
    """

    name: str
    process: subprocess.Popen[str]
    folder: Path
    note: str

    def repeat(self) -> Repetition:
        """Do the task once.

        Raises:
            RuntimeFailure: the worker has ended.
        """
        trees = self.folder / "trees"
        for old in trees.glob("*"):
            old.unlink()
        assert self.process.stdin is not None  # noqa: S101 # a pipe
        with suppress(BrokenPipeError):  # the log tells why
            os.write(self.process.stdin.fileno(), f"{trees}\n".encode())
        found = _answer(self.name, self.process, self.folder)
        kept = [tree_from_bytes(path.read_bytes()) for path in sorted(trees.iterdir())]
        return Repetition(found["seconds"], found["mebibytes"], kept)


@contextmanager
def side(name: str, python: Path, module: str, task: Path, folder: Path) -> Iterator[Side]:
    """Start a worker and wait until it is ready; it ends with the context.

    Args:
        name: of the side, for errors.
        python: the interpreter to run it with.
        module: see `tegu.bench.peers`.
        task: folder of the task.
        folder: for its log and its trees; made where it is absent.

    Raises:
        RuntimeFailure: the worker has ended; the message ends with its log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = [str(python), "-m", "tegu.bench.harness.worker", module, str(task)]
    with (folder / "log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(  # noqa: S603 # our own module
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )
    with process:  # closes its standard input, at which it ends, and waits for it
        yield Side(name, process, folder, _answer(name, process, folder)["note"])


def _answer(name: str, process: subprocess.Popen[str], folder: Path) -> dict[str, Any]:
    assert process.stdout is not None  # noqa: S101 # a pipe
    line = process.stdout.readline()
    if not line:
        code = process.wait()  # first: it tells what went wrong as it ends
        log = (folder / "log").read_text("utf-8", errors="replace")
        raise RuntimeFailure(f"{name} has ended with code {code}; mend what the end of its log tells:\n{log[-_TAIL:]}")
    found: dict[str, Any] = json.loads(line)
    return found
