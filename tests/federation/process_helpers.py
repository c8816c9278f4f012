"""Waiting for a condition, and finding the processes that run in a folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil


def wait_for(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < deadline, "the condition does not hold after 30 s"
        time.sleep(0.01)


def processes_in(folder: Path) -> list[psutil.Process]:
    """All processes that run in `folder`, without zombies."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cwd() == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def commands_in(folder: Path) -> list[str]:
    """Command lines of all processes that run in `folder`."""
    lines = []
    for process in processes_in(folder):
        with suppress(psutil.Error):
            lines.append(" ".join(process.cmdline()))
    return lines
