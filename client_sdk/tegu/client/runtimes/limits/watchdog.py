"""Stops what runs too long: one thread for the process, which sleeps unless something may be late."""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Limit", "stopped_after"]


class Limit:
    """One thing that is running.

    Attributes:
        deadline: reading of `time.monotonic`, in seconds.
        stop: stops it; called from another thread.
        passed: whether it was stopped.
    """

    def __init__(self, deadline: float, stop: Callable[[], object]) -> None:
        self.deadline = deadline
        self.stop = stop
        self.passed = False


@contextmanager
def stopped_after(seconds: float, stop: Callable[[], object]) -> Iterator[Limit]:
    """Call `stop` from another thread if the block takes longer than `seconds`; the limit then says `passed`."""
    limit = Limit(time.monotonic() + seconds, stop)
    watchdog = _watchdog(os.getpid())
    watchdog.watch(limit)
    try:
        yield limit
    finally:
        watchdog.leave(limit)


@functools.lru_cache(1)
def _watchdog(_process: int) -> _Watchdog:
    """The watchdog of a process. A forked child has no threads but one, so it gets a watchdog of its own."""
    return _Watchdog()


class _Watchdog:
    """A thread that wakes at the earliest deadline that it knew when it fell asleep.

    Waking it takes longer than running a small graph. Whoever comes later with a later deadline does not wake it.
    """

    def __init__(self) -> None:
        self._limits = set[Limit]()
        self._changed = threading.Condition(threading.Lock())
        self._wakes = float("inf")  # when the thread wakes by itself
        self._started = False

    def watch(self, limit: Limit) -> None:
        with self._changed:
            self._limits.add(limit)
            if not self._started:
                threading.Thread(target=self._run, name="tegu-watchdog", daemon=True).start()
                self._started = True
            elif limit.deadline < self._wakes:
                self._changed.notify()

    def leave(self, limit: Limit) -> None:
        with self._changed:
            self._limits.discard(limit)

    def _run(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for limit in [limit for limit in self._limits if limit.deadline <= now]:
                    limit.passed = True
                    limit.stop()
                    self._limits.discard(limit)
                self._wakes = min((limit.deadline for limit in self._limits), default=float("inf"))
                self._changed.wait(None if self._wakes == float("inf") else max(self._wakes - now, 0))
