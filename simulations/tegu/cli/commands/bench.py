"""`tegu bench`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console

from tegu.bench.harness.comparison import json_rows
from tegu.bench.harness.options import BenchmarkOptions
from tegu.bench.harness.plot import render_plot
from tegu.bench.suites.catalogue import BENCHMARKS
from tegu.core.errors import DataError, UnknownNameError
from tegu.core.files import atomic_write
from tegu.sim.reporting.table import markdown

__all__ = ["bench_command"]


def bench_command(
    name: str, *, pairs: int, tasks: list[str], peers: list[str], install: bool, out: Path | None
) -> dict[str, Any]:
    """Run a benchmark, print its table to stdout, and return its rows for `--json`.

    Args:
        name: name of the benchmark.
        pairs: timed repetitions of each implementation.
        tasks: names of the tasks to run; empty for all.
        peers: names of the peers to run; empty for all.
        install: whether to create environments for peers that are not installed.
        out: path of a plot to write, `.svg` or `.html`. The rows are written beside it as `.json`. None writes neither.

    Raises:
        UnknownNameError: no benchmark, task or peer has that name.
        MissingExtraError: a package that the benchmark needs is not installed.
        DataError: `out` has another suffix.
        FileError: `out` cannot be written.
        RuntimeFailure: an implementation fails, or two implementations do not do the same work.
    """
    if name not in BENCHMARKS:
        raise UnknownNameError("benchmark", name, BENCHMARKS)
    if out is not None and out.suffix not in (".svg", ".html"):
        raise DataError(f"out is {out}: expected a name that ends in .svg or .html")
    stderr = Console(stderr=True, soft_wrap=True)
    options = BenchmarkOptions(
        pairs, lambda text: stderr.print(text, highlight=False, markup=False), tasks, peers, install
    )
    comparisons = BENCHMARKS[name](options)
    result = {"bench": name, "rows": json_rows(comparisons)}
    header = ["task", "measure", "Tegu", "peer", "peer's value", "Tegu / peer", "peer / Tegu", "range", "pairs"]
    table = [header, *(comparison.table_cells() for comparison in comparisons)]
    Console(soft_wrap=True).print(markdown(table), highlight=False, markup=False)
    if out is not None:
        atomic_write(out, render_plot(result, table, as_page=out.suffix == ".html").encode())
        atomic_write(out.with_suffix(".json"), json.dumps(result, indent=1).encode())
    return result
