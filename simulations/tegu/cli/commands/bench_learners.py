"""`tegu bench learners`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from tegu.bench.learners.bench import bench_learners
from tegu.bench.learners.figure import learner_rows, learners_svg, refusals
from tegu.core.errors import DataError
from tegu.core.files import atomic_write
from tegu.sim.reporting.table import markdown

__all__ = ["bench_learners_command"]

_FOLDER = Path("runs/learners")


def bench_learners_command(
    *,
    tasks: Sequence[str],
    learners: Sequence[str],
    seed: int,
    rounds: int | None,
    omniglot: Mapping[str, Any],
    out: Path | None,
) -> dict[str, Any]:
    """Measure learners, print the table to stdout, and return the results for `--json`.

    Args:
        tasks: names of tasks; empty for all.
        learners: names of learners; empty for all.
        seed: of the runs.
        rounds: of training; None for what each learner recommends.
        omniglot: options of that experiment; None stands for its own.
        out: path of a plot, `.svg`; results are written beside it as `.json`, and those of single learners into the
            folder of that name. None writes the latter only, to `runs/learners`.

    Raises:
        UnknownNameError: no such task or learner.
        DataError: `out` has another suffix, or omniglot is requested without data.
        FileError: a file cannot be written.
        RuntimeFailure: every learner failed.
    """
    if out is not None and out.suffix != ".svg":
        raise DataError(f"out is {out}: expected a name that ends in .svg")
    stderr, stdout = Console(stderr=True, soft_wrap=True), Console(soft_wrap=True)

    def log(text: str) -> None:
        stderr.print(text, highlight=False, markup=False)

    folder = _FOLDER if out is None else out.with_suffix("")
    found = bench_learners(folder, log, tasks=tasks, learners=learners, seed=seed, rounds=rounds, omniglot=omniglot)
    for line in refusals(found):
        log(line)
    stdout.print(markdown(learner_rows(found)), highlight=False, markup=False)
    result = {"bench": "learners", "rows": found}
    if out is not None:
        atomic_write(out, learners_svg(found).encode())
        atomic_write(out.with_suffix(".json"), json.dumps(result, indent=1).encode())
    return result
