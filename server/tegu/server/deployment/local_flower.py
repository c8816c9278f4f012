"""A SuperLink on loopback, with SuperNodes or with Flower's Ray simulation."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tegu.core.errors import FederationError
from tegu.server.deployment.environment import Scalar, Table, free_ports, offline_environment, program, write_toml
from tegu.server.deployment.network_namespace import loopback_only
from tegu.server.deployment.process_group import LOG_TAIL, ProcessGroup
from tegu.server.deployment.temporary_folder import temporary_folder

__all__ = ["FlowerRun", "LocalFlower", "local_federation", "local_simulation"]

_HOST, _CONNECTION = "127.0.0.1", "local"
# Runs as a process of the group, because this process may be outside their network namespace.
_WAIT_FOR_HEALTH = """
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
    """The result of a run that has ended.

    Attributes:
        status: as Flower reports it: `finished:completed`, `finished:failed` or `finished:stopped`.
        log: what the ServerApp wrote.
        seconds: duration of the `flwr run` command.
    """

    status: str
    log: str = field(repr=False)
    seconds: float

    @property
    def completed(self) -> bool:
        """Whether the ServerApp finished without an error."""
        return self.status == "finished:completed"


class LocalFlower:
    """A SuperLink with its nodes. `local_federation` and `local_simulation` create and stop it.

    Args:
        app_dir: folder of the app's `pyproject.toml`.
        workdir: folder for logs and Flower's own files; created if it does not exist.
        port: port of the SuperLink.
        command_prefix: words put before every command.
        environment: environment variables in addition to those of `offline_environment`.
        settings: Flower's federation configuration, passed with every run.
    """

    def __init__(
        self,
        app_dir: Path,
        workdir: Path,
        port: int,
        *,
        command_prefix: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        settings: Mapping[str, Scalar] | None = None,
    ) -> None:
        self._app_dir, self._workdir = app_dir.resolve(), workdir.resolve()
        self._port, self._settings = port, dict(settings or {})
        home = self._workdir / "flwr-home"
        home.mkdir(parents=True, exist_ok=True)
        connection: Table = {"address": f"{_HOST}:{port}", "insecure": True}
        write_toml(home / "config.toml", {"superlink": {_CONNECTION: connection}})
        variables = offline_environment(home) | dict(environment or {})
        self._group = ProcessGroup(self._workdir, variables, command_prefix)

    def __repr__(self) -> str:
        return f"LocalFlower(SuperLink at {_HOST}:{self._port}, workdir {self._workdir})"

    def run(self, run_config: Mapping[str, Scalar], timeout: float = 3600.0) -> FlowerRun:
        """Run the app and wait until it ends.

        Args:
            run_config: values for the keys of the app's `[tool.flwr.app.config]`.
            timeout: seconds to wait. A run that takes longer goes on until the context manager stops all processes.

        Raises:
            FederationError: Flower rejects the run or does not answer, or `timeout` has passed.
        """
        started = time.monotonic()
        arguments = ["--run-config", str(write_toml(self._workdir / "run-config.toml", run_config))]
        if self._settings:
            path = write_toml(self._workdir / "federation-config.toml", self._settings)
            arguments += ["--federation-config", str(path)]
        command = [program("flwr"), "run", str(self._app_dir), _CONNECTION, "--stream", *arguments]
        log = self._group.run(*command, timeout=timeout)
        return FlowerRun(self._run_status(log, timeout), log, time.monotonic() - started)

    def log(self, name: str) -> str:
        """What a process has written so far: `superlink`, `supernode0`, `supernode1`, ...

        Raises:
            FederationError: no process of that name was started.
        """
        return self._group.log(name)

    def start_superlink(self, *arguments: str) -> None:
        """Start the SuperLink."""
        address = ["--host", _HOST, "--port", str(self._port)]
        self._group.start("superlink", program("flower-superlink"), "--insecure", *address, *arguments)

    def start_supernode(self, index: int, port: int, config: Mapping[str, Scalar]) -> None:
        """Start `supernode<index>`; it retries until the SuperLink answers."""
        path = write_toml(self._workdir / f"node-config-{index}.toml", config)
        addresses = ["--superlink", f"{_HOST}:{self._port}", "--host", _HOST, "--port", str(port)]
        command = [program("flower-supernode"), "--insecure", *addresses, "--node-config", str(path)]
        self._group.start(f"supernode{index}", *command)

    def wait_until_ready(self, nodes: int = 0) -> None:
        """Wait until the SuperLink answers and the first `nodes` SuperNodes are registered.

        Raises:
            FederationError: a process has ended, or is not ready in time.
        """
        self._group.start("health", sys.executable, "-c", _WAIT_FOR_HEALTH, f"http://{_HOST}:{self._port}/health")
        self._wait_for_log("health", "healthy", ["superlink"], "the SuperLink does not answer")
        for name in (f"supernode{index}" for index in range(nodes)):
            # A SuperNode logs its id when it is registered.
            self._wait_for_log(name, "SuperNode ID:", ["superlink", name], f"{name} does not connect")

    def stop(self) -> None:
        """Stop all processes and all their descendants. Returns when none is left."""
        self._group.stop()

    def _wait_for_log(self, name: str, text: str, needed: Sequence[str], failure: str) -> None:
        self._group.wait_until(lambda: text in self.log(name), needed, failure)

    def _run_status(self, log: str, timeout: float) -> str:
        """The run's status as Flower reports it: `flwr run --stream` exits with 0 even when the run has failed."""
        found = re.search(r"Successfully started run (\d+)", log)
        if found is None:
            raise FederationError(
                f"the output of flwr run names no run id: check the Flower version. It wrote:\n{log[-LOG_TAIL:]}"
            )
        command = [program("flwr"), "list", _CONNECTION, "--run-id", found[1], "--format", "json"]
        listed = self._group.run(*command, timeout=timeout)
        return str(json.loads(listed[listed.index("{") :])["runs"][0]["status"])


@contextmanager
def local_federation(app_dir: Path, workdir: Path, nodes: Sequence[Mapping[str, Scalar]]) -> Iterator[LocalFlower]:
    """A SuperLink with one connected SuperNode for each node configuration, on free ports of 127.0.0.1.

    Args:
        app_dir: folder of the app's `pyproject.toml`.
        workdir: folder for logs and Flower's own files.
        nodes: configuration of each SuperNode, which its ClientApp reads from `context.node_config`.

    Raises:
        FederationError: a process cannot be started or connected.
        MissingExtraError: Flower's programs are not installed.
    """
    ports = free_ports(len(nodes) + 1)
    flower = LocalFlower(app_dir, workdir, ports[0])
    try:
        flower.start_superlink()
        for index, (port, config) in enumerate(zip(ports[1:], nodes, strict=True)):
            flower.start_supernode(index, port, config)
        flower.wait_until_ready(len(nodes))
        yield flower
    finally:
        flower.stop()


@contextmanager
def local_simulation(app_dir: Path, workdir: Path, nodes: int, cpus: int = 2) -> Iterator[LocalFlower]:
    """A SuperLink that runs the app on Flower's Ray simulation.

    Its processes run in a network namespace with only loopback where the system permits it.

    Args:
        app_dir: folder of the app's `pyproject.toml`.
        workdir: folder for logs and Flower's own files.
        nodes: number of simulated SuperNodes. Each reads its `partition-id`, from 0, from `context.node_config`.
        cpus: number of processors that Ray uses, one for each ClientApp.

    Raises:
        FederationError: the SuperLink cannot be started.
        MissingExtraError: Flower's programs are not installed.
    """
    settings = {"num-supernodes": nodes, "client-resources-num-cpus": 1, "init-args-num-cpus": cpus}
    # Ray joins any cluster that it finds in the shared folder, so it gets its own. Its sockets need a short path.
    with temporary_folder("tegu-ray-") as ray_folder, loopback_only() as command_prefix:
        (port,) = free_ports(1)
        environment = {"RAY_TMPDIR": str(ray_folder)}
        flower = LocalFlower(
            app_dir, workdir, port, command_prefix=command_prefix, environment=environment, settings=settings
        )
        try:
            flower.start_superlink("--simulation")
            flower.wait_until_ready()
            yield flower
        finally:
            flower.stop()
