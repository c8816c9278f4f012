"""A SuperLink on loopback, with SuperNodes of its own or with Flower's Ray simulation behind it."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tegu.core.errors import FederationError
from tegu.sim.processes.environment import Scalar, free_ports, offline_environment, program, write_toml
from tegu.sim.processes.group import STARTUP, TAIL, ProcessGroup
from tegu.sim.processes.namespace import loopback_only

__all__ = ["FlowerRun", "LocalFlower", "local_federation", "local_simulation"]

_HOST, _CONNECTION = "127.0.0.1", "local"
# Asked by a process of the group: this process is not in their network namespace.
_UNTIL_HEALTHY = """
import sys, time, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
while True:
    try:
        opener.open(sys.argv[1], timeout=1).close()
        break
    except OSError:
        time.sleep(0.05)
print("healthy")
"""


@dataclass(frozen=True)
class FlowerRun:
    """A run that has ended.

    Attributes:
        status: Flower's own: `finished:completed`, `finished:failed` or `finished:stopped`.
        log: what the ServerApp wrote.
        seconds: from the command to its end.
    """

    status: str
    log: str
    seconds: float

    @property
    def completed(self) -> bool:
        """Whether the ServerApp came to its end."""
        return self.status == "finished:completed"


class LocalFlower:
    """A SuperLink and what belongs to it; made by `local_federation` and `local_simulation`, which stop it.

    Args:
        app_dir: folder of the app's `pyproject.toml`.
        workdir: for logs and Flower's own files; made where it is absent.
        port: of the SuperLink.
        enter: words before every command.
        environment: variables besides those of `offline_environment`.
        settings: of the federation, passed on with every run.
    """

    def __init__(
        self,
        app_dir: Path,
        workdir: Path,
        port: int,
        *,
        enter: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        settings: Mapping[str, Scalar] | None = None,
    ) -> None:
        self._app_dir, self._workdir = app_dir.resolve(), workdir.resolve()
        self._port, self._settings = port, dict(settings or {})
        home = self._workdir / "flwr-home"
        home.mkdir(parents=True, exist_ok=True)
        connection = f'[superlink.{_CONNECTION}]\naddress = "{_HOST}:{port}"\ninsecure = true\n'
        (home / "config.toml").write_text(connection, encoding="utf-8")
        self._group = ProcessGroup(self._workdir, offline_environment(home) | dict(environment or {}), enter)

    def run(self, run_config: Mapping[str, Scalar], timeout: float = 3600.0) -> FlowerRun:
        """Run the app and wait for its end.

        Args:
            run_config: values for the keys of the app's `[tool.flwr.app.config]`.
            timeout: seconds after which to give up waiting; the run itself ends with the context at the latest.

        Raises:
            FederationError: Flower refuses the run, does not answer, or `timeout` has passed.
        """
        began = time.monotonic()
        arguments = ["--run-config", str(write_toml(self._workdir / "run-config.toml", run_config))]
        if self._settings:
            path = write_toml(self._workdir / "federation-config.toml", self._settings)
            arguments += ["--federation-config", str(path)]
        command = [program("flwr"), "run", str(self._app_dir), _CONNECTION, "--stream", *arguments]
        log = self._group.call(*command, timeout=timeout)
        return FlowerRun(self._status(log, timeout), log, time.monotonic() - began)

    def log(self, name: str) -> str:
        """What a process has written so far: `superlink`, `supernode0`, `supernode1`, ...

        Raises:
            FederationError: nothing of that name was started.
        """
        return self._group.log(name)

    def start_superlink(self, *arguments: str) -> None:
        """Start the SuperLink."""
        end = ["--host", _HOST, "--port", str(self._port)]
        self._group.start("superlink", program("flower-superlink"), "--insecure", *end, *arguments)

    def start_supernode(self, index: int, port: int, config: Mapping[str, Scalar]) -> None:
        """Start `supernode<index>`; it keeps trying until the SuperLink answers."""
        path = write_toml(self._workdir / f"node-config-{index}.toml", config)
        ends = ["--superlink", f"{_HOST}:{self._port}", "--host", _HOST, "--port", str(port)]
        command = [program("flower-supernode"), "--insecure", *ends, "--node-config", str(path)]
        self._group.start(f"supernode{index}", *command)

    def until_ready(self, nodes: int = 0) -> None:
        """Wait until the SuperLink answers and so many SuperNodes are registered: each writes its id then.

        Raises:
            FederationError: a process has ended, or they are not ready in time.
        """
        self._group.start("health", sys.executable, "-c", _UNTIL_HEALTHY, f"http://{_HOST}:{self._port}/health")
        waits = {"superlink": ("health", "healthy", "the SuperLink does not answer")}
        for name in (f"supernode{index}" for index in range(nodes)):
            waits[name] = (name, "SuperNode ID:", f"{name} does not connect")
        for name, (log, expected, failure) in waits.items():
            self._group.until(lambda log=log, expected=expected: expected in self.log(log), name, failure)

    def stop(self) -> None:
        """Stop everything that was started and all that it has started; nothing is left on return."""
        self._group.stop()

    def _status(self, log: str, timeout: float) -> str:
        """Flower's own word on the run: `flwr run --stream` exits with 0 whatever became of it."""
        found = re.search(r"Successfully started run (\d+)", log)
        if found is None:
            raise FederationError(f"flwr run names no run: is this another Flower version? It wrote:\n{log[-TAIL:]}")
        command = [program("flwr"), "list", _CONNECTION, "--run-id", found[1], "--format", "json"]
        listed = self._group.call(*command, timeout=timeout)
        return str(json.loads(listed[listed.index("{") :])["runs"][0]["status"])
