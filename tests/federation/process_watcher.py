"""Flower's processes, watched from aside while somebody else starts and stops them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from tests.federation.network_namespaces import interfaces, namespace
from tests.federation.tiny import flower_processes

_EVERY = 0.2


@dataclass
class Seen:
    """All that was seen: the processes, their names, and their network namespaces with the interfaces inside."""

    processes: set[psutil.Process] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    namespaces: dict[str, frozenset[str]] = field(default_factory=dict)

    def look(self, workdir: Path) -> None:
        for process in flower_processes(workdir) - self.processes:
            with suppress(OSError, psutil.Error):  # it has ended meanwhile
                name = process.name()
                if name == "nsenter":  # about to enter a namespace, and to become what it was asked to run
                    continue
                self.names.add(name)
                self.namespaces[namespace(process.pid)] = interfaces(process.pid)
            self.processes.add(process)


@contextmanager
def watching(workdir: Path) -> Iterator[Seen]:
    """Look several times a second at the processes whose Flower folder is below `workdir`, and at their descendants."""
    seen, ended = Seen(), threading.Event()

    def watch() -> None:
        while not ended.wait(_EVERY):
            seen.look(workdir)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()
