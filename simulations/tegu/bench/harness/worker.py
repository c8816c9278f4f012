"""The worker program: `python -m tegu.bench.harness.worker MODULE FOLDER`, with `MODULE` as in `tegu.bench.peers`.

It prints one line of JSON once the task is loaded and warm. Each further line of its standard input is a folder: the
worker runs one repetition, writes its trees to the folder and prints a line of JSON. Output of libraries goes to
standard error.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from tegu.bench.tasks.task import read_task
from tegu.core.bundle.file import tree_to_bytes
from tegu.core.data.tree import Tree
from tegu.core.process import peak_memory

__all__ = ["serve"]


def serve(module: str, folder: Path, requests: TextIO, answers: TextIO) -> None:
    """Prepare a task, then run one repetition for every line of `requests`: the folder for that repetition's trees.

    Args:
        module: the implementation, see `tegu.bench.peers`.
        folder: the task's folder.
        requests: read until its end.
        answers: receives `{"description": ...}`, then `{"seconds": ..., "mebibytes": ...}` for every request.
    """
    with importlib.import_module(module).prepare_task(read_task(folder), folder) as prepared:
        _answer(answers, description=prepared.description)
        for request in requests:
            gc.collect()
            run = prepared.repeat()
            peak = peak_memory()
            _write_trees(Path(request.rstrip("\n")), run.trees)
            _answer(answers, seconds=run.seconds, mebibytes=peak)


def _answer(answers: TextIO, **values: object) -> None:
    print(json.dumps(values), file=answers, flush=True)


def _write_trees(folder: Path, trees: Sequence[Tree]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, tree in enumerate(trees):
        (folder / f"{number:04d}.safetensors").write_bytes(tree_to_bytes(tree))


@contextmanager
def _reserved_output() -> Iterator[TextIO]:
    """The standard output, reserved for answers: whatever else prints to it goes to standard error."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        yield answers


if __name__ == "__main__":
    with _reserved_output() as output:
        serve(sys.argv[1], Path(sys.argv[2]), sys.stdin, output)
