"""`tegu bench`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Console

from tegu.bench.pairs import Comparison, as_rows
from tegu.bench.start import bench_start
from tegu.core.errors import UnknownNameError
from tegu.sim.table import markdown

__all__ = ["bench_command"]

BENCHES: dict[str, Callable[[int, Callable[[str], None]], list[Comparison]]] = {"start": bench_start}


def bench_command(name: str, pairs: int) -> dict[str, Any]:
    """Run a benchmark, print its table to stdout, and return it in a form that other programs read.

    Raises:
        UnknownNameError: no benchmark of that name.
        MissingExtraError: a peer is not installed.
    """
    if name not in BENCHES:
        raise UnknownNameError("benchmark", name, BENCHES)
    errors = Console(stderr=True)
    comparisons = BENCHES[name](pairs, lambda text: errors.print(text, highlight=False))
    header = ["work", "measure", "tegu", "peer", "its figure", "tegu / peer", "times better", "spread", "pairs"]
    table = [header, *([*comparison.texts()] for comparison in comparisons)]
    Console(soft_wrap=True).print(markdown(table), highlight=False)
    return {"bench": name, "rows": as_rows(comparisons)}
