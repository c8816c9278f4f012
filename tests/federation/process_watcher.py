"""Observes Flower's processes while other code starts and stops them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from tests.federation.network_namespaces import interfaces, namespace
from tests.federation.tiny import flower_processes

_INTERVAL_SECONDS = 0.2


@dataclass
class Observed:
    """The observed processes, their names, and their network namespaces with the interfaces inside."""

    processes: set[psutil.Process] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    namespaces: dict[str, frozenset[str]] = field(default_factory=dict)

    def observe(self, workdir: Path) -> None:
        for process in flower_processes(workdir) - self.processes:
            with suppress(OSError, psutil.Error):  # the process has ended
                name = process.name()
                if name == "nsenter":  # it has not entered the namespace yet
                    continue
                self.names.add(name)
                self.namespaces[namespace(process.pid)] = interfaces(process.pid)
            self.processes.add(process)


@contextmanager
def watching(workdir: Path) -> Iterator[Observed]:
    """Observe the processes whose Flower folder is below `workdir`, and their descendants, several times a second."""
    observed, ended = Observed(), threading.Event()

    def watch() -> None:
        while not ended.wait(_INTERVAL_SECONDS):
            observed.observe(workdir)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield observed
    finally:
        ended.set()
        thread.join()
