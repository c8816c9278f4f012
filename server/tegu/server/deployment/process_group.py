"""Processes that are started and stopped together, each with a log of its own."""

from __future__ import annotations

import re
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tegu.core.errors import FederationError
from tegu.server.deployment.process_tree import MARK, stop

__all__ = ["STARTUP", "TAIL", "ProcessGroup"]

STARTUP = 90.0  # seconds; a machine under load takes several for each Python process
TAIL = 2000  # characters of a log in an error
_POLL = 0.05
_COLOURS = re.compile(r"\x1b\[\d*m")


class ProcessGroup:
    """Processes in one folder and one environment.

    Args:
        workdir: absolute and present; where they run and write their logs.
        environment: their variables.
        enter: words before every command.
    """

    def __init__(self, workdir: Path, environment: Mapping[str, str], enter: Sequence[str] = ()) -> None:
        self._workdir, self._enter, self._mark = workdir, list(enter), uuid.uuid4().hex
        self._environment = {**environment, MARK: self._mark}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *command: str) -> None:
        """Start a process that writes to `<workdir>/<name>.log`."""
        with (self._workdir / f"{name}.log").open("wb") as out:
            self._processes[name] = subprocess.Popen(  # noqa: S603 # our own words
                [*self._enter, *command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self._environment,
                cwd=self._workdir,
                start_new_session=True,  # Control-C reaches the caller alone, who then stops them in order
            )

    def log(self, name: str) -> str:
        """What a process has written so far.

        Raises:
            FederationError: nothing of that name was started.
        """
        if name not in self._processes:
            raise FederationError(f"no process is called {name!r}: expected one of {', '.join(self._processes)}")
        return _text((self._workdir / f"{name}.log").read_bytes())

    def call(self, *command: str, timeout: float) -> str:
        """Run a command to its end and return what it wrote.

        Raises:
            FederationError: it fails, or takes longer than `timeout` seconds.
        """
        what = " ".join([Path(command[0]).name, *command[1:2]])
        try:
            done = subprocess.run(  # noqa: S603 # our own words
                [*self._enter, *command],
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
                f"{what} has not ended after {timeout:g} s: give it more time, or mend what it waits for. "
                f"The end of its log:\n{_text(error.stdout or b'')[-TAIL:]}"
            ) from error
        text = _text(done.stdout)
        if done.returncode:
            raise FederationError(
                f"{what} has ended with code {done.returncode}; mend what the end of its log tells:\n{text[-TAIL:]}"
            )
        return text

    def until(self, reached: Callable[[], bool], needed: Sequence[str], failure: str) -> None:
        """Wait for something that takes the processes `needed`, for `STARTUP` seconds.

        Raises:
            FederationError: one of them has ended, or the time has passed.
        """
        deadline = time.monotonic() + STARTUP
        while not reached():
            for name in needed:
                code = self._processes[name].poll()
                if code is not None:
                    raise FederationError(
                        f"{failure}: {name} has ended with code {code}; mend what the end of its log tells:\n"
                        f"{self.log(name)[-TAIL:]}"
                    )
            if time.monotonic() > deadline:
                raise FederationError(
                    f"{failure} within {STARTUP:.0f} s: is the machine too busy? The end of the log of {needed[-1]}:\n"
                    f"{self.log(needed[-1])[-TAIL:]}"
                )
            time.sleep(_POLL)

    def stop(self) -> None:
        """Stop everything that was started and all that it has started; nothing is left on return."""
        running = [process.pid for process in self._processes.values() if process.poll() is None]
        stop(running, self._mark)
        for process in self._processes.values():
            process.wait()


def _text(written: bytes) -> str:
    return _COLOURS.sub("", written.decode(errors="replace"))
