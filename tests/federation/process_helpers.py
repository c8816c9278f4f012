"""Waiting for small processes, and finding those that run in a test's own folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil


def wait_for(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < deadline, "it has not come to pass"
        time.sleep(0.01)


def processes_in(folder: Path) -> list[psutil.Process]:
    """All that run in `folder`; ended ones that nobody has fetched do not."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cwd() == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def commands_in(folder: Path) -> list[str]:
    """Command lines of all that run in `folder`."""
    lines = []
    for process in processes_in(folder):
        with suppress(psutil.Error):
            lines.append(" ".join(process.cmdline()))
    return lines
