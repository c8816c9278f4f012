"""The options of a run of `tegu bench`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tegu.core.errors import UnknownNameError

__all__ = ["BenchmarkOptions", "select_names"]


@dataclass(frozen=True)
class BenchmarkOptions:
    """The options that all benchmarks share.

    Attributes:
        pairs: timed repetitions of each implementation; they alternate.
        log: receives lines of progress.
        tasks: names of the tasks to run; empty for all.
        peers: names of the peers to run; empty for all.
        install: whether to create environments for peers that are not installed.
    """

    pairs: int
    log: Callable[[str], None]
    tasks: Sequence[str] = ()
    peers: Sequence[str] = ()
    install: bool = True


def select_names(kind: str, available: Iterable[str], requested: Sequence[str]) -> list[str]:
    """The requested names in the order of `available`; all available names if none is requested.

    Args:
        kind: what the names are names of, for the error.
        available: the names to select from.
        requested: the names to select.

    Raises:
        UnknownNameError: a requested name is not available.
    """
    names = list(available)
    for name in requested:
        if name not in names:
            raise UnknownNameError(kind, name, names)
    return [name for name in names if name in requested or not requested]
