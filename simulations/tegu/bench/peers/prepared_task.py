"""A task that an implementation has loaded, compiled and warmed up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from tegu.core.data.tree import Tree

__all__ = ["PreparedTask", "TimedRun"]


class TimedRun(NamedTuple):
    """One timed repetition of a task.

    Attributes:
        seconds: time of the task alone.
        trees: parameters after every round. They show whether two implementations did the same work.
    """

    seconds: float
    trees: Sequence[Tree]


class PreparedTask(NamedTuple):
    """A task that is ready to run.

    Attributes:
        repeat: runs the task once, from its initial parameters.
        description: versions, and the settings that were found to be the fastest.
    """

    repeat: Callable[[], TimedRun]
    description: str
