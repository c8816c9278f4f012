"""The process of one side: `python -m tegu.bench.harness.worker MODULE FOLDER`, with `MODULE` as in `tegu.bench.peers`.

Says hello in a line of JSON once everything is loaded and warm; then answers every line of its standard input with one
repetition, its trees written to a folder. What libraries print goes to standard error.
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
    """Open a side and repeat its task once for every line of `requests`, each the folder for that repetition's trees.

    Args:
        module: of the side.
        folder: of the task.
        requests: read to its end.
        answers: `{"note": ...}`, then `{"seconds": ..., "mebibytes": ...}` for every request.
    """
    with importlib.import_module(module).opened(read_task(folder), folder) as ready:
        _say(answers, note=ready.note)
        for request in requests:
            gc.collect()
            done = ready.repeat()
            peak = peak_memory()
            _write(Path(request.rstrip("\n")), done.trees)
            _say(answers, seconds=done.seconds, mebibytes=peak)


def _say(answers: TextIO, **values: object) -> None:
    print(json.dumps(values), file=answers, flush=True)


def _write(folder: Path, trees: Sequence[Tree]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, tree in enumerate(trees):
        (folder / f"{number:04d}.safetensors").write_bytes(tree_to_bytes(tree))


@contextmanager
def _own_output() -> Iterator[TextIO]:
    """The standard output, kept from everybody else who prints."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        yield answers


if __name__ == "__main__":
    with _own_output() as output:
        serve(sys.argv[1], Path(sys.argv[2]), sys.stdin, output)
