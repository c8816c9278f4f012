"""Finding and stopping all processes that descend from a group of processes.

Flower and Ray start their children in sessions of their own, and some children outlive their parents. Two methods
together find all of them: the tree of processes, and a mark in the environment that children inherit. The tree is
needed because Ray's workers overwrite their environment.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable

import psutil

__all__ = ["MARK_VARIABLE", "is_alive", "process_family", "stop_processes"]

MARK_VARIABLE = "TEGU_FAMILY"
_POLL_SECONDS = 0.05


def process_family(roots: Iterable[int], mark: str) -> set[psutil.Process]:
    """The living processes among the roots, their descendants, and all processes whose environment holds the mark.

    Args:
        roots: process ids.
        mark: value of the environment variable `MARK_VARIABLE`, unique for each family.
    """
    found: set[psutil.Process] = set()
    for root in roots:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(root)
            found |= {process, *process.children(recursive=True)}
    return {process for process in found | _marked_processes(mark) if is_alive(process)}


def is_alive(process: psutil.Process) -> bool:
    """Whether the process runs. A zombie, which has ended but was not reaped by its parent, does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def stop_processes(roots: Iterable[int], mark: str, grace: float = 5.0) -> None:
    """Terminate the whole family and return when no process of it is left.

    Args:
        roots: process ids.
        mark: as in `process_family`.
        grace: seconds between the termination signal and the kill signal.
    """
    roots = list(roots)
    known = process_family(roots, mark)
    _signal(known, "terminate")
    # Not psutil.wait_procs: it also waits until zombies are reaped by their parents, which made stopping take 2 s
    # instead of 0.1 s, and it takes the exit codes of the caller's own children from subprocess.
    deadline = time.monotonic() + grace
    while left := {process for process in known if is_alive(process)}:
        if time.monotonic() >= deadline:
            _signal(left, "kill")
        time.sleep(_POLL_SECONDS)
    # Processes that were started while the others ended: the tree above them is gone, but they carry the mark.
    while late := process_family(roots, mark):
        _signal(late, "kill")
        time.sleep(_POLL_SECONDS)


def _marked_processes(mark: str) -> set[psutil.Process]:
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # it has ended, or belongs to another user
            if process.environ().get(MARK_VARIABLE) == mark:
                found.add(process)
    return found


def _signal(processes: Iterable[psutil.Process], method: str) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            getattr(process, method)()
