"""Every learner on every task, each in a process of its own; what a folder holds already is not measured again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tegu.bench.harness.options import select_names
from tegu.bench.learners.tasks import TASKS, Request
from tegu.core.errors import DataError, RuntimeFailure
from tegu.core.files import make_folder
from tegu.learners.catalogue import LEARNERS

__all__ = ["bench_learners", "names_for"]

_OWN = {"movielens": "implicit_als"}  # learners of a task that are not in the catalogue


def names_for(task: str, requested: Sequence[str] = ()) -> list[str]:
    """The learners to measure on a task: the requested ones, or all.

    Raises:
        UnknownNameError: no such learner.
    """
    own = [_OWN[task]] if task in _OWN else []
    known = [*LEARNERS, *_OWN.values()]
    chosen = select_names("learner", known, requested)
    return [name for name in chosen if name in LEARNERS or name in own]


def bench_learners(
    folder: Path,
    log: Callable[[str], None],
    *,
    tasks: Sequence[str] = (),
    learners: Sequence[str] = (),
    seed: int = 0,
    rounds: int | None = None,
    omniglot: Mapping[str, Any] = MappingProxyType({}),
) -> list[dict[str, Any]]:
    """Measure learners on tasks.

    Args:
        folder: holds one file for each learner and task. Those that are there are read, not measured again.
        log: receives lines of progress.
        tasks: names in `TASKS`; empty for all, without omniglot if there are no data.
        learners: names of learners; empty for all.
        seed: of the runs.
        rounds: of training; None for what each learner recommends.
        omniglot: options of that experiment, such as `data`, its folder.

    Returns:
        The contents of the files, see `tegu.bench.learners.measure`. A learner that failed is logged and left out.

    Raises:
        UnknownNameError: no such task or learner.
        DataError: omniglot is requested and there are no data.
        FileError: the folder cannot be written.
        RuntimeFailure: every learner failed.
    """
    chosen = select_names("task", TASKS, tasks)
    omniglot = {name: value for name, value in omniglot.items() if value is not None}
    if "data" not in omniglot and "omniglot" in chosen:
        if tasks:
            raise DataError(
                "omniglot has no data of its own: give the folder with the official archives, by --data DIR"
            )
        log("omniglot is left out: it needs --data DIR")
        chosen.remove("omniglot")
    make_folder(folder)
    options = {"omniglot": omniglot}
    requests = [
        Request(task, name, seed, rounds, options.get(task, {}))
        for task in chosen
        for name in names_for(task, learners)
    ]
    found = [each for request in requests if (each := _measured(request, folder, log)) is not None]
    if requests and not found:
        raise RuntimeFailure(f"none of {len(requests)} learners could be measured: see the output above")
    return found


def _measured(request: Request, folder: Path, log: Callable[[str], None]) -> dict[str, Any] | None:
    """The result of one learner on one task; None if its process failed."""
    path = folder / f"{_file_name(request)}.json"
    name = f"{request.learner} on {request.task}"
    if path.exists():
        log(f"{name}: measured before, {path}")
    else:
        log(f"{name}: measuring")
        given = json.dumps(request._asdict(), default=str)
        command = [sys.executable, "-m", "tegu.bench.learners.measure", given, str(path)]
        done = subprocess.run(command, check=False)  # noqa: S603 # our own module
        if done.returncode or not path.exists():
            log(f"{name}: failed with exit code {done.returncode}, and is left out")
            return None
    result: dict[str, Any] = json.loads(path.read_bytes())
    return result


def _file_name(request: Request) -> str:
    rounds = "" if request.rounds is None else f"-{request.rounds}"
    options = "".join(f"-{name}{value}" for name, value in sorted(request.omniglot.items()) if name != "data")
    return f"{request.task}-{request.learner}-{request.seed}{rounds}{options}"
