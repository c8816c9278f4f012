"""`tegu serve` as a process of this one, and the processes that it has started."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil

__all__ = ["ROLES", "Server"]

ROLES = {"SuperLink": "tegu.server.serving.gate", "SuperExec": "flower-superexec", "ServerApp": "flwr-serverapp"}
"""Words of the command lines of the processes that a server starts."""


class Server:
    """A server that is started again when it was killed.

    Args:
        folder: with `federation.toml`; the output goes to `serve.txt` there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._started: dict[int, psutil.Process] = {}

    def start(self) -> None:
        """Start `tegu serve`."""
        command = [sys.executable, "-m", "tegu.cli.main", "serve", "federation.toml"]
        with (self._folder / "serve.txt").open("ab") as out:
            self._process = subprocess.Popen(command, cwd=self._folder, stdout=out, stderr=out)  # noqa: S603 # own

    def ended(self) -> int | None:
        """The exit code; None while it runs."""
        return None if self._process is None else self._process.poll()

    def said(self) -> str:
        """What it has said, over all its starts."""
        with suppress(OSError):
            return (self._folder / "serve.txt").read_text("utf-8")
        return ""

    def find(self, role: str) -> psutil.Process | None:
        """The process of a role that this server has started; None if there is none just now."""
        for process in self._own():
            with suppress(psutil.Error):
                if ROLES[role] in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                    return process
        return None

    def kill(self) -> None:
        """SIGKILL of `tegu serve` alone. What it has started goes on until the next start ends it."""
        self._own()
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)

    def close(self) -> None:
        """End it and, by their ids, all processes that it has ever started."""
        self._own()
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(30)
        for process in self._started.values():
            with suppress(psutil.Error):
                process.kill()  # psutil refuses if another process has got the id meanwhile

    def _own(self) -> list[psutil.Process]:
        with suppress(psutil.Error):
            if self._process is not None and self._process.poll() is None:
                for process in psutil.Process(self._process.pid).children(recursive=True):
                    self._started.setdefault(process.pid, process)
        return [process for process in self._started.values() if process.is_running()]
