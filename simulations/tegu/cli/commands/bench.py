"""`tegu bench`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from tegu.bench.harness.comparison import json_rows
from tegu.bench.harness.options import Request

from tegu.bench.harness.plot import render_plot
from tegu.bench.suites.catalogue import BENCHES
from tegu.core.errors import DataError, UnknownNameError
from tegu.core.files import atomic_write
from tegu.sim.reporting.table import markdown

__all__ = ["bench_command"]


def bench_command(
    name: str, *, pairs: int, works: list[str], peers: list[str], install: bool, out: Path | None
) -> dict[str, Any]:
    """Run a benchmark, print its table to stdout, and return it in a form that other programs read.

    Args:
        name: of the benchmark.
        pairs: timed repetitions of each side.
        works: which; empty for all.
        peers: which; empty for all.
        install: whether environments may be made for peers that are not installed.
        out: a plot to write, `.svg` or `.html`, with what is returned beside it as `.json`; None for neither.

    Raises:
        UnknownNameError: no benchmark, work or peer of that name.
        MissingExtraError: what the benchmark needs is not installed.
        DataError: `out` ends in something else.
        FileError: `out` cannot be written.
        RuntimeFailure: a side fails, or two sides do not do the same work.
    """
    if name not in BENCHES:
        raise UnknownNameError("benchmark", name, BENCHES)
    if out is not None and out.suffix not in (".svg", ".html"):
        raise DataError(f"out is {out}: expected a name that ends in .svg or .html")
    errors = Console(stderr=True, soft_wrap=True)
    request = Request(pairs, lambda text: errors.print(text, highlight=False, markup=False), works, peers, install)
    comparisons = BENCHES[name](request)
    result = {"bench": name, "rows": json_rows(comparisons)}
    header = ["work", "measure", "tegu", "peer", "its figure", "tegu / peer", "times better", "spread", "pairs"]
    table = [header, *([*comparison.texts()] for comparison in comparisons)]
    Console(soft_wrap=True).print(markdown(table), highlight=False, markup=False)
    if out is not None:
        atomic_write(out, render_plot(result, table, as_page=out.suffix == ".html").encode())
        atomic_write(out.with_suffix(".json"), json.dumps(result, indent=1).encode())
    return result
