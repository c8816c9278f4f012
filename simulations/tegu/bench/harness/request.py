"""What a run of `tegu bench` is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tegu.core.errors import UnknownNameError

__all__ = ["Request", "chosen"]


@dataclass(frozen=True)
class Request:
    """The options that all benchmarks share.

    Attributes:
        pairs: timed repetitions of each side, in turn.
        say: told how far it is.
        works: which; empty for all.
        peers: which; empty for all.
        install: whether environments may be made for peers that are not installed.
    """

    pairs: int
    say: Callable[[str], None]
    works: Sequence[str] = ()
    peers: Sequence[str] = ()
    install: bool = True


def chosen(kind: str, names: Iterable[str], asked: Sequence[str]) -> list[str]:
    """Those of `names` that are asked for, in their own order; all where none is.

    Raises:
        UnknownNameError: one that is asked for is not there.
    """
    known = list(names)
    for name in asked:
        if name not in known:
            raise UnknownNameError(kind, name, known)
    return [name for name in known if name in asked or not asked]
