"""Every process that descends from what was started, and the end of them all.

Flower and Ray put their children into sessions of their own, and some outlive their parents. Two things find them: the
tree of processes, and a mark in the environment that children inherit (Ray's workers overwrite theirs).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable

import psutil

__all__ = ["MARK", "alive", "family", "stop"]

MARK = "TEGU_FAMILY"
_POLL = 0.05


def family(roots: Iterable[int], mark: str) -> set[psutil.Process]:
    """Living processes: the roots, their descendants, and all whose environment holds the mark.

    Args:
        roots: process ids.
        mark: value of the variable `MARK`, different for every family.
    """
    found: set[psutil.Process] = set()
    for root in roots:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(root)
            found |= {process, *process.children(recursive=True)}
    return {process for process in found | _marked(mark) if alive(process)}


def alive(process: psutil.Process) -> bool:
    """Running, and no zombie that its parent has not fetched."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def stop(roots: Iterable[int], mark: str, grace: float = 5.0) -> None:
    """Ask the whole family to end, and kill what has not after `grace` seconds; returns when nobody is left."""
    roots = list(roots)
    known = family(roots, mark)
    _signal(known, "terminate")
    # Not psutil.wait_procs: it also waits for zombies until their parent fetches them, which made a stop take 2 s in
    # place of 0.1 s, and it takes the exit codes of the caller's own children from subprocess.
    deadline = time.monotonic() + grace
    while left := {process for process in known if alive(process)}:
        if time.monotonic() >= deadline:
            _signal(left, "kill")
        time.sleep(_POLL)
    # Born while the others ended: the tree above them is gone, the mark is not.
    while late := family(roots, mark):
        _signal(late, "kill")
        time.sleep(_POLL)


def _marked(mark: str) -> set[psutil.Process]:
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # gone, or another user's
            if process.environ().get(MARK) == mark:
                found.add(process)
    return found


def _signal(processes: Iterable[psutil.Process], what: str) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            getattr(process, what)()
