"""A SuperLink on loopback, with SuperNodes of its own or with Flower's Ray simulation behind it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tegu.core.errors import FederationError
from tegu.sim.processes.environment import Scalar, free_ports, offline_environment, program, write_toml
from tegu.sim.processes.family import MARK, stop
from tegu.sim.processes.namespace import loopback_only

__all__ = ["FlowerRun", "LocalFlower", "local_federation", "local_simulation"]

_CONNECTION = "local"
_STARTUP = 90.0  # seconds; a machine under load takes several for each Python process
_TAIL = 2000  # characters of a log in an error
_POLL = 0.05
_COLOURS = re.compile(r"\x1b\[\d*m")
# Run inside the namespace, which this process is not in.
_UNTIL_HEALTHY = """
import sys, time, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
while True:
    try:
        opener.open(sys.argv[1], timeout=1).close()
        break
    except OSError:
        time.sleep(0.05)
"""


@dataclass(frozen=True)
class FlowerRun:
    """A run that has ended.

    Attributes:
        status: Flower's own, `finished:completed` or `finished:failed` or `finished:stopped`.
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
    """Flower's processes; made by `local_federation` and `local_simulation`, which stop them.

    Args:
        app_dir: folder of the app's `pyproject.toml`.
        workdir: for logs and Flower's own files; made where it is absent.
        port: of the SuperLink on 127.0.0.1.
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
        self._app_dir, self._workdir, self._enter = app_dir.resolve(), workdir.resolve(), list(enter)
        self._address, self._settings = f"127.0.0.1:{port}", dict(settings or {})
        self._mark = uuid.uuid4().hex
        home = self._workdir / "flwr-home"
        home.mkdir(parents=True, exist_ok=True)
        connection = f'[superlink.{_CONNECTION}]\naddress = "{self._address}"\ninsecure = true\n'
        (home / "config.toml").write_text(connection, encoding="utf-8")
        self._environment = {**offline_environment(home), **(environment or {}), MARK: self._mark}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def run(self, run_config: Mapping[str, Scalar], timeout: float = 3600.0) -> FlowerRun:
        """Run the app and wait for its end.

        Args:
            run_config: values for the keys of the app's `[tool.flwr.app.config]`.
            timeout: seconds after which to give up; the run itself ends with the context at the latest.

        Raises:
            FederationError: Flower refuses the run, does not answer, or `timeout` has passed.
        """
        began = time.monotonic()
        arguments = ["--run-config", str(write_toml(self._workdir / "run-config.toml", run_config))]
        if self._settings:
            path = write_toml(self._workdir / "federation-config.toml", self._settings)
            arguments += ["--federation-config", str(path)]
        log = self._flwr("run", str(self._app_dir), _CONNECTION, "--stream", *arguments, timeout=timeout)
        found = re.search(r"Successfully started run (\d+)", log)
        if found is None:
            raise FederationError(f"flwr run names no run: is this another Flower version? It wrote:\n{log[-_TAIL:]}")
        # `flwr run --stream` exits with 0 whatever became of the run.
        listed = self._flwr("list", _CONNECTION, "--run-id", found[1], "--format", "json", timeout=timeout)
        status = str(json.loads(listed[listed.index("{") :])["runs"][0]["status"])
        return FlowerRun(status, log, time.monotonic() - began)

    def log(self, name: str) -> str:
        """What a process has written so far: `superlink`, `supernode0`, `supernode1`, ...

        Raises:
            FederationError: nothing of that name was started.
        """
        if name not in self._processes:
            raise FederationError(f"no process is called {name!r}: expected one of {', '.join(self._processes)}")
        return _COLOURS.sub("", (self._workdir / f"{name}.log").read_text("utf-8", errors="replace"))

    def start(self, name: str, *command: str) -> None:
        """Start a process that writes to `<workdir>/<name>.log`."""
        with (self._workdir / f"{name}.log").open("wb") as out:
            self._processes[name] = subprocess.Popen(
                [*self._enter, program(command[0]), *command[1:]],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self._environment,
                cwd=self._workdir,
                start_new_session=True,  # Control-C reaches this process alone, which then stops them in order
            )

    def start_superlink(self, *arguments: str) -> None:
        """Start the SuperLink; `until_healthy` waits for it."""
        host, _, port = self._address.partition(":")
        self.start("superlink", "flower-superlink", "--insecure", "--host", host, "--port", port, *arguments)

    def start_supernode(self, index: int, port: int, config: Mapping[str, Scalar]) -> None:
        """Start `supernode<index>`; it keeps trying until the SuperLink answers."""
        host = self._address.partition(":")[0]
        node_config = str(write_toml(self._workdir / f"node-config-{index}.toml", config))
        ends = ["--superlink", self._address, "--host", host, "--port", str(port)]
        self.start(f"supernode{index}", "flower-supernode", "--insecure", *ends, "--node-config", node_config)

    def until_healthy(self) -> None:
        """Wait until the SuperLink answers.

        Raises:
            FederationError: a process has ended, or none has answered in time.
        """
        command = [*self._enter, sys.executable, "-c", _UNTIL_HEALTHY, f"http://{self._address}/health"]
        with subprocess.Popen(command, env=self._environment, stdin=subprocess.DEVNULL) as probe:
            try:
                self._until(lambda: probe.poll() is not None, "the SuperLink does not answer", "superlink")
            finally:
                probe.kill()

    def until_connected(self, nodes: int) -> None:
        """Wait until so many SuperNodes are registered: each writes its id then.

        Raises:
            FederationError: as `until_healthy`.
        """
        for name in (f"supernode{index}" for index in range(nodes)):
            self._until(lambda name=name: "SuperNode ID:" in self.log(name), f"{name} does not connect", name)  # type: ignore[misc] # mypy sees no default in a lambda

    def stop(self) -> None:
        """Stop everything that was started and all that it has started; nothing is left on return."""
        stop([process.pid for process in self._processes.values()], self._mark)
        for process in self._processes.values():
            process.wait()

    def _until(self, reached: Callable[[], bool], failure: str, name: str) -> None:
        deadline = time.monotonic() + _STARTUP
        while not reached():
            for each, process in self._processes.items():
                if process.poll() is not None:
                    raise FederationError(
                        f"{each} has ended with code {process.returncode}; the end of its log may tell what to mend:\n"
                        f"{self.log(each)[-_TAIL:]}"
                    )
            if time.monotonic() > deadline:
                raise FederationError(
                    f"{failure} after {_STARTUP:.0f} s; is the machine too busy? The end of its log:\n"
                    f"{self.log(name)[-_TAIL:]}"
                )
            time.sleep(_POLL)

    def _flwr(self, *arguments: str, timeout: float) -> str:
        try:
            done = subprocess.run(
                [*self._enter, program("flwr"), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=self._environment,
                cwd=self._workdir,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            written = (error.stdout or b"").decode(errors="replace")
            raise FederationError(
                f"flwr {arguments[0]} has not ended after {timeout:g} s: give it more time, or mend what it waits for. "
                f"The end of its log:\n{_COLOURS.sub('', written)[-_TAIL:]}"
            ) from error
        text = _COLOURS.sub("", done.stdout.decode(errors="replace"))
        if done.returncode:
            raise FederationError(
                f"flwr {arguments[0]} has ended with code {done.returncode}; the end of its log may tell what to mend:"
                f"\n{text[-_TAIL:]}"
            )
        return text


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
        flower.until_healthy()
        flower.until_connected(len(nodes))
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
    ray = tempfile.mkdtemp(prefix="tegu-ray-")
    try:
        with loopback_only() as enter:
            (port,) = free_ports(1)
            flower = LocalFlower(
                app_dir, workdir, port, enter=enter, environment={"RAY_TMPDIR": ray}, settings=settings
            )
            try:
                flower.start_superlink("--simulation")
                flower.until_healthy()
                yield flower
            finally:
                flower.stop()
    finally:
        shutil.rmtree(ray, ignore_errors=True)
