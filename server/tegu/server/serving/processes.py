"""Processes that are started again when they end, with back-off and jitter.

A restarted server would otherwise be met by all of its nodes at the same instant, again and again (Brooker 2015,
"Exponential Backoff and Jitter", AWS Architecture Blog).
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tegu.core.errors import FederationError
from tegu.core.file_lock import file_lock
from tegu.core.files import atomic_write, make_folder
from tegu.server.deployment.environment import offline_environment
from tegu.server.deployment.process_tree import MARK_VARIABLE, stop_processes

__all__ = ["Respawned", "back_off", "own_folder", "service_environment"]

_FIRST_SECONDS, _LONGEST_SECONDS = 1.0, 60.0
_SETTLED_SECONDS = 60.0  # a process that ran so long had started well
_MOST_LOG_BYTES = 10_000_000
_TAIL_BYTES = 20_000
_MARK, _LOCK = "family", ".lock"


def back_off(failures: int, jitter: float) -> float:
    """Seconds to wait after so many failures in a row: 1 doubled each time, at most 60, times 0.5 to 1.5.

    Args:
        failures: at least 1.
        jitter: uniformly drawn between 0 and 1.
    """
    return min(_LONGEST_SECONDS, _FIRST_SECONDS * 2.0 ** min(failures - 1, 10)) * (0.5 + jitter)


class Respawned:
    """A process that `tend` starts and starts again, until `close`.

    Args:
        name: for people.
        command: makes the program and its arguments, anew for each start.
        log: file to append the process's output to.
        environment: of the process, with the mark of its family.
        ended: told the process's exit code and the seconds until the next start, whenever the process has ended.
    """

    def __init__(
        self,
        name: str,
        command: Callable[[], Sequence[str]],
        log: Path,
        environment: Mapping[str, str],
        ended: Callable[[int, float], None],
    ) -> None:
        self._name, self._command, self._log, self._environment, self._ended = name, command, log, environment, ended
        self._process: subprocess.Popen[bytes] | None = None
        self._started, self._due, self._failures, self._from = 0.0, 0.0, 0, 0

    def __repr__(self) -> str:
        return f"Respawned({self._name}, {'running' if self.pid else 'not running'})"

    @property
    def pid(self) -> int | None:
        """The id of the running process; None if it does not run."""
        return None if self._process is None or self._process.poll() is not None else self._process.pid

    def tend(self) -> None:
        """Note that the process has ended, or start it if that is due. Returns at once."""
        now = time.monotonic()
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                self._shorten_log()
                return
            self._process = None
            self._failures = 1 if now - self._started > _SETTLED_SECONDS else self._failures + 1
            wait = back_off(self._failures, random.random())  # noqa: S311 # no secret depends on it
            self._due = now + wait
            self._ended(code, wait)
        elif now >= self._due:
            self._start()

    def end(self) -> None:
        """End the process, so that `tend` starts another one."""
        if self._process is not None:
            self._process.terminate()

    def close(self) -> None:
        """End the process and its whole family. Returns when none is left."""
        running = [] if self.pid is None else [self.pid]
        stop_processes(running, self._environment[MARK_VARIABLE])
        if self._process is not None:
            self._process.wait()

    def said(self) -> str:
        """What the process has written since its last start: the last 20 kB."""
        try:
            with self._log.open("rb") as file:
                end = file.seek(0, 2)
                file.seek(max(self._from, end - _TAIL_BYTES))
                return file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def _shorten_log(self) -> None:
        """Move a long log's text to `<log>.1`. The process appends, so it goes on at the beginning."""
        if self._log.stat().st_size > _MOST_LOG_BYTES:
            shutil.copyfile(self._log, self._log.with_suffix(".log.1"))
            os.truncate(self._log, 0)
            self._from = 0

    def _start(self) -> None:
        with self._log.open("ab") as out:
            self._from = out.tell()
            self._process = subprocess.Popen(  # noqa: S603 # the command is our own
                list(self._command()),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=dict(self._environment),
                cwd=self._log.parent,
                start_new_session=True,  # Control-C then reaches the caller alone, which stops the processes in order
            )
        self._started = time.monotonic()


def service_environment(folder: Path, mark: str, *, proxies: bool = False) -> dict[str, str]:
    """The environment of Flower's programs for a federation that runs for weeks.

    Args:
        folder: holds Flower's own files below `flwr`.
        mark: of `own_folder`.
        proxies: keep the proxies of this process's environment, but not for this machine.
    """
    kept = {name: value for name, value in os.environ.items() if proxies and name.lower().endswith("_proxy")}
    if kept:
        kept["NO_PROXY"] = ",".join(
            filter(None, (kept.pop("no_proxy", ""), kept.get("NO_PROXY"), "127.0.0.1,localhost"))
        )
    # Asking for work twenty times a second, as a run of minutes may, would keep a processor busy for weeks.
    return (
        offline_environment(folder / "flwr") | kept | {MARK_VARIABLE: mark, "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.5"}
    )


@contextmanager
def own_folder(folder: Path, what: str) -> Iterator[str]:
    """Hold a folder for this process, end what an earlier holder has left running, and end all processes on exit.

    Args:
        folder: created if absent, for this user alone.
        what: what is done there, for the error message.

    Yields:
        The mark that every process of this folder carries in its environment.

    Raises:
        FederationError: another process holds the folder.
        FileError: the folder cannot be written.
    """
    make_folder(folder)
    folder.chmod(0o700)
    with file_lock(folder / _LOCK) as held:
        if not held:
            raise FederationError(f"{what} is running already, with the folder {folder}: stop it first")
        mark = _mark(folder / _MARK)
        stop_processes([], mark)  # of a holder that was killed
        try:
            yield mark
        finally:
            stop_processes([], mark)


def _mark(path: Path) -> str:
    if not path.exists():
        atomic_write(path, uuid.uuid4().hex.encode(), 0o600)
    return path.read_text("utf-8")
