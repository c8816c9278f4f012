"""Processes that are started and stopped together. Each has its own log file."""

from __future__ import annotations

import re
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tegu.core.errors import FederationError
from tegu.server.deployment.process_tree import MARK_VARIABLE, stop_processes

__all__ = ["LOG_TAIL", "STARTUP_SECONDS", "ProcessGroup"]

STARTUP_SECONDS = 90.0  # on a busy machine each Python process takes several seconds to start
LOG_TAIL = 2000  # characters of a log that an error message quotes
_POLL_SECONDS = 0.05
_COLOUR_CODES = re.compile(r"\x1b\[\d*m")


class ProcessGroup:
    """Processes in one folder and one environment.

    Args:
        workdir: an existing folder, as an absolute path. The processes run there and their logs are written there.
        environment: environment variables of the processes.
        command_prefix: words put before every command.
    """

    def __init__(self, workdir: Path, environment: Mapping[str, str], command_prefix: Sequence[str] = ()) -> None:
        self._workdir, self._command_prefix, self._mark = workdir, list(command_prefix), uuid.uuid4().hex
        self._environment = {**environment, MARK_VARIABLE: self._mark}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __repr__(self) -> str:
        return f"ProcessGroup({', '.join(self._processes) or 'no processes'} in {self._workdir})"

    def start(self, name: str, *command: str) -> None:
        """Start a process that writes to `<workdir>/<name>.log`."""
        with (self._workdir / f"{name}.log").open("wb") as out:
            self._processes[name] = subprocess.Popen(  # noqa: S603 # the command is our own
                [*self._command_prefix, *command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self._environment,
                cwd=self._workdir,
                start_new_session=True,  # Control-C then reaches only the caller, which stops the processes in order
            )

    def log(self, name: str) -> str:
        """What a process has written so far.

        Raises:
            FederationError: no process of that name was started.
        """
        if name not in self._processes:
            raise FederationError(f"no process is called {name!r}: expected one of {', '.join(self._processes)}")
        return _plain_text((self._workdir / f"{name}.log").read_bytes())

    def run(self, *command: str, timeout: float) -> str:
        """Run a command, wait for its end, and return what it wrote.

        Args:
            command: the program and its arguments.
            timeout: seconds.

        Raises:
            FederationError: the command fails, or takes longer than `timeout`.
        """
        title = " ".join([Path(command[0]).name, *command[1:2]])
        try:
            done = subprocess.run(  # noqa: S603 # the command is our own
                [*self._command_prefix, *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=self._environment,
                cwd=self._workdir,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise FederationError(
                f"{title} has not ended after {timeout:g} s: raise the timeout, or fix what it waits for. "
                f"The end of its log:\n{_plain_text(error.stdout or b'')[-LOG_TAIL:]}"
            ) from error
        text = _plain_text(done.stdout)
        if done.returncode:
            raise FederationError(
                f"{title} has ended with code {done.returncode}: fix the error at the end of its log:\n"
                f"{text[-LOG_TAIL:]}"
            )
        return text

    def wait_until(self, reached: Callable[[], bool], needed: Sequence[str], failure: str) -> None:
        """Wait at most `STARTUP_SECONDS` until a condition holds.

        Args:
            reached: the condition.
            needed: names of the processes that must run until then, at least one.
            failure: beginning of the error message.

        Raises:
            FederationError: one of the processes has ended, or the time has passed.
        """
        deadline = time.monotonic() + STARTUP_SECONDS
        while not reached():
            for name in needed:
                code = self._processes[name].poll()
                if code is not None:
                    raise FederationError(
                        f"{failure}: {name} has ended with code {code}: fix the error at the end of its log:\n"
                        f"{self.log(name)[-LOG_TAIL:]}"
                    )
            if time.monotonic() > deadline:
                raise FederationError(
                    f"{failure} within {STARTUP_SECONDS:.0f} s: check whether the machine is overloaded. "
                    f"The end of the log of {needed[-1]}:\n{self.log(needed[-1])[-LOG_TAIL:]}"
                )
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """Stop all processes of the group and all their descendants. Returns when none is left."""
        running = [process.pid for process in self._processes.values() if process.poll() is None]
        stop_processes(running, self._mark)
        for process in self._processes.values():
            process.wait()


def _plain_text(output: bytes) -> str:
    return _COLOUR_CODES.sub("", output.decode(errors="replace"))
