"""The server's processes: the SuperLink behind its gate, and the SuperExec that starts the ServerApp."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import TypeVar

from tegu.core.errors import FederationError
from tegu.core.files import atomic_write
from tegu.server.deployment.environment import program
from tegu.server.serving.control import Control, connect
from tegu.server.serving.processes import Respawned, service_environment
from tegu.server.serving.server import Server

__all__ = ["Tended", "running_superlink"]

Answer = TypeVar("Answer")
_STARTUP_SECONDS = 90.0


class Tended:
    """The Control API of a SuperLink whose processes are tended between questions."""

    def __init__(self, control: Control, processes: list[Respawned]) -> None:
        self._control, self._processes = control, processes

    def pause(self, seconds: float) -> None:
        """Wait, and start again what has ended meanwhile."""
        deadline = time.monotonic() + seconds
        while True:
            for process in self._processes:
                process.tend()
            if time.monotonic() >= deadline:
                return
            time.sleep(min(0.2, seconds))

    def ask(self, question: Callable[[Control], Answer]) -> Answer | None:
        """The answer to a question; None while the SuperLink does not answer, because it is started again."""
        try:
            return question(self._control)
        except FederationError:
            return None


@contextmanager
def running_superlink(server: Server, mark: str, say: Callable[[str], None]) -> Iterator[Tended]:
    """Start the SuperLink and the SuperExec, and wait until the SuperLink answers.

    Args:
        server: of `prepare_server`.
        mark: of `own_folder`.
        say: told when a process has ended and is started again.

    Raises:
        FederationError: the SuperLink ends at once, or does not answer in time.
    """
    superlink, superexec = _processes(server, mark, say)
    deadline = time.monotonic() + _STARTUP_SECONDS
    with closing(superlink), closing(superexec), connect(str(server.own), server.ca) as control:
        tended = Tended(control, [superlink, superexec])
        superlink.tend()
        while tended.ask(lambda control: control.nodes()) is None:
            if time.monotonic() > deadline or superlink.pid is None:
                raise FederationError(
                    f"the SuperLink does not start at {server.listen}: fix the error at the end of its log\n"
                    f"{superlink.said()[-2000:]}"
                )
            time.sleep(0.2)
        yield tended


def _processes(server: Server, mark: str, say: Callable[[str], None]) -> tuple[Respawned, Respawned]:
    """The SuperLink and the SuperExec. A secret that only this user can read lets no other SuperExec take the run."""
    environment, secret = service_environment(server.state, mark), server.state / "superexec.secret"
    if not secret.exists():
        atomic_write(secret, secrets.token_bytes(32), 0o600)

    def respawned(name: str, command: list[str]) -> Respawned:
        def ended(code: int, wait: float) -> None:
            say(f"the {name} has ended with code {code}: it is started again in {wait:.0f} s")

        return Respawned(name, partial(list, command), server.state / f"{name.lower()}.log", environment, ended)

    shared = ["--superexec-auth-secret-file", str(secret)]
    return (
        respawned("SuperLink", [*_superlink_command(server), *shared]),
        respawned("SuperExec", [*_superexec_command(server), *shared]),
    )


def _superlink_command(server: Server) -> list[str]:
    tls = ["--ssl-ca-certfile", str(server.ca), "--ssl-certfile", str(server.certificate)]
    tls += ["--ssl-keyfile", str(server.key), "--enable-supernode-auth"]
    place = ["--host", server.listen.host, "--port", str(server.listen.port), "--isolation", "process"]
    database = ["--database", str(server.state / "superlink.db")]
    gate = [sys.executable, "-m", "tegu.server.serving.gate"]
    return [*gate, *place, *database, *(tls if server.ca else ["--insecure"])]


def _superexec_command(server: Server) -> list[str]:
    tls = ["--root-certificates", str(server.ca)] if server.ca else ["--insecure"]
    return [program("flower-superexec"), "--runtime-api-address", str(server.own), *tls]
