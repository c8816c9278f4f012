"""What must work in a child process that is forked while other threads are at work.

A child has one thread, and copies of all locks as they were: one that another thread held is never released. Before a
fork, stores therefore wait until no thread is at work in them, and the child gets new locks.
"""

from __future__ import annotations

import os
import weakref
from contextlib import suppress
from typing import Protocol

__all__ = ["Forked", "survives_forks"]


class Forked(Protocol):
    """What is told of a fork."""

    def before_fork(self) -> None:
        """Wait, for a short time at most, until no other thread is at work."""

    def after_fork_in_parent(self) -> None:
        """Let other threads work again."""

    def after_fork_in_child(self) -> None:
        """Replace locks, and whatever belongs to the parent."""


_living: weakref.WeakSet[Forked] = weakref.WeakSet()
_told: list[Forked] = []  # between the two halves of a fork


def survives_forks(thing: Forked) -> None:
    """Tell `thing` of every fork as long as it lives."""
    _living.add(thing)


def _before() -> None:
    with suppress(RuntimeError):  # another thread makes a store just now: the next time, it is told
        _told.extend(_living)
    for thing in _told:
        thing.before_fork()


def _in_parent() -> None:
    for thing in _told:
        thing.after_fork_in_parent()
    _told.clear()


def _in_child() -> None:
    for thing in _told:
        thing.after_fork_in_child()
    _told.clear()


if hasattr(os, "register_at_fork"):  # absent on Windows, which does not fork
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
