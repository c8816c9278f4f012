"""What a side is once it is loaded, compiled and warm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from tegu.core.data.tree import Tree

__all__ = ["Done", "Ready", "Repeat"]


class Done(NamedTuple):
    """One timed repetition.

    Attributes:
        seconds: of the work alone.
        trees: what it gave, to know that both sides did the same work: parameters after every round.
    """

    seconds: float
    trees: Sequence[Tree]


Repeat: TypeAlias = Callable[[], Done]


class Ready(NamedTuple):
    """A side that is ready to run.

    Attributes:
        repeat: does the task once, from its first parameters.
        note: versions, and the settings that were found to be the fastest.
    """

    repeat: Repeat
    note: str
