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
from tegu.server.deployment.environment import Scalar, Table, free_ports, offline_environment, program, write_toml
from tegu.server.deployment.network_namespace import loopback_only
from tegu.server.deployment.process_group import TAIL, ProcessGroup

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
        connection: Table = {"address": f"{_HOST}:{port}", "insecure": True}
        write_toml(home / "config.toml", {"superlink": {_CONNECTION: connection}})
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
        self._until_written("health", "healthy", ["superlink"], "the SuperLink does not answer")
        for name in (f"supernode{index}" for index in range(nodes)):
            self._until_written(name, "SuperNode ID:", ["superlink", name], f"{name} does not connect")

    def stop(self) -> None:
        """Stop everything that was started and all that it has started; nothing is left on return."""
        self._group.stop()

    def _until_written(self, name: str, text: str, needed: Sequence[str], failure: str) -> None:
        self._group.until(lambda: text in self.log(name), needed, failure)

    def _status(self, log: str, timeout: float) -> str:
        """Flower's own word on the run: `flwr run --stream` exits with 0 whatever became of it."""
        found = re.search(r"Successfully started run (\d+)", log)
        if found is None:
            raise FederationError(f"flwr run names no run: is this another Flower version? It wrote:\n{log[-TAIL:]}")
        command = [program("flwr"), "list", _CONNECTION, "--run-id", found[1], "--format", "json"]
        listed = self._group.call(*command, timeout=timeout)
        return str(json.loads(listed[listed.index("{") :])["runs"][0]["status"])


@contextmanager
def local_federation(app_dir: Path, workdir: Path, nodes: Sequence[Mapping[str, Scalar]]) -> Iterator[LocalFlower]:
    """One SuperLink and a SuperNode for each node configuration, on free ports of 127.0.0.1, all connected.

    Args:
        app_dir: folder of the app's `pyproject.toml`.
        workdir: for logs and Flower's own files.
        nodes: each SuperNode's configuration, as its ClientApp finds it in `context.node_config`.

    Raises:
        FederationError: a process cannot be started, or they do not find each other.
        MissingExtraError: Flower's programs are not installed.
    """
    ports = free_ports(len(nodes) + 1)
    flower = LocalFlower(app_dir, workdir, ports[0])
    try:
        flower.start_superlink()
        for index, (port, config) in enumerate(zip(ports[1:], nodes, strict=True)):
            flower.start_supernode(index, port, config)
        flower.until_ready(len(nodes))
        yield flower
    finally:
        flower.stop()


@contextmanager
def local_simulation(app_dir: Path, workdir: Path, nodes: int, cpus: int = 2) -> Iterator[LocalFlower]:
    """A SuperLink that runs the app on Flower's Ray simulation, in a namespace with only loopback where permitted.

    Args:
        app_dir: folder of the app's `pyproject.toml`.
        workdir: for logs and Flower's own files.
        nodes: simulated SuperNodes; each finds its `partition-id`, from 0, in `context.node_config`.
        cpus: processors that Ray uses, one for a ClientApp.

    Raises:
        FederationError: the SuperLink cannot be started.
        MissingExtraError: Flower's programs are not installed.
    """
    settings = {"num-supernodes": nodes, "client-resources-num-cpus": 1, "init-args-num-cpus": cpus}
    # A folder of its own, or Ray joins any cluster it finds in the shared one; its sockets want a short path.
    ray = {"RAY_TMPDIR": tempfile.mkdtemp(prefix="tegu-ray-")}
    try:
        with loopback_only() as enter:
            (port,) = free_ports(1)
            flower = LocalFlower(app_dir, workdir, port, enter=enter, environment=ray, settings=settings)
            try:
                flower.start_superlink("--simulation")
                flower.until_ready()
                yield flower
            finally:
                flower.stop()
    finally:
        shutil.rmtree(ray["RAY_TMPDIR"], ignore_errors=True)
