"""`tegu serve` and `tegu join` as they are typed: TLS, authentication, and SIGKILL of every kind of process.

One federation serves all checks. Its processes are killed at random moments of the run.
"""

from __future__ import annotations

import http.client
import json
import random
import re
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from tests.federation.tiny import bundle, flower_processes, looped_engine, population, running

from tegu.core.bundle.file import Bundle, read_bundle, write_bundle
from tegu.core.bundle.signing import new_key_pair
from tegu.core.data.tree import max_difference
from tegu.core.sampling.episode import EpisodeRule
from tegu.server.deployment.environment import free_ports
from tegu.server.training.journal import read_events
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import CohortPlan, TrainingPlan, UpdatePlan
from tegu.sim.training.in_process import train_in_process
from tegu.sim.training.on_ray import write_partitions

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("superlink")]

NODES, USERS, ROUNDS = 3, 11, 6
PLAN = TrainingPlan(
    rounds=ROUNDS,
    seed=5,
    cohort=CohortPlan(NODES, NODES),
    outer=OuterRule("SGD", 0.8),
    episodes=EpisodeRule(3, 6, 4),
    updates=UpdatePlan(clip=0.4),
)
FILE = """
[server]
address = "127.0.0.1:{port}"
[run]
bundle = "start.tegu"
out = "out"
signing-key = "signing.key"
rounds = {rounds}
cohort = {nodes}
seed = 5
outer = "SGD"
outer-lr = 0.8
min-support = 3
max-support = 6
max-query = 4
clip = 0.4
calibration-share = 0.0
[node]
bundle = "start.tegu"
"""
KILLED = ("flwr-serverapp", "serving.gate", "nodes/node-1/")  # words of the victims' command lines
TEGU = [sys.executable, "-m", "tegu.cli.main"]


class Served(NamedTuple):
    """A federation that has ended, and what was observed while it ran."""

    folder: Path
    public_key: bytes
    said: str
    joined: list[str]
    asked: dict[str, int]
    faults: list[str]
    processes: set[psutil.Process]

    @property
    def bundle(self) -> Bundle:
        return read_bundle(self.folder / "out" / "init.tegu", self.public_key)


class Started(NamedTuple):
    """A command that runs, and the file that it writes to."""

    process: subprocess.Popen[bytes]
    log: Path

    def said(self) -> str:
        return self.log.read_text()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(60)


@contextmanager
def started(folder: Path, name: str, *arguments: str) -> Iterator[Started]:
    log = folder / f"{name}.txt"
    with log.open("ab") as out:
        process = subprocess.Popen([*TEGU, *arguments], cwd=folder, stdout=out, stderr=out)
    try:
        yield Started(process, log)
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(60)


def tegu(folder: Path, *arguments: str) -> str:
    done = subprocess.run([*TEGU, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def wait_until(reached: Callable[[], bool], seconds: float = 400) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, "the condition does not hold in time"
        time.sleep(0.1)


def rounds_run(folder: Path) -> int:
    return max((event["round"] for event in read_events(folder / "out/checkpoints")[0] if event["event"] == "round"),
               default=0)  # fmt: skip


def kill(folder: Path, words: str) -> str:
    """Kill the federation's oldest process whose command line holds the words; waits until there is one."""

    def oldest() -> psutil.Process | None:
        with suppress(psutil.NoSuchProcess):
            found = [process for process in flower_processes(folder) if words in " ".join(process.cmdline())]
            return min(found, key=lambda process: process.create_time(), default=None)
        return None

    deadline = time.monotonic() + 100
    while (victim := oldest()) is None:
        assert time.monotonic() < deadline, f"no process of {words}"
        time.sleep(0.1)
    victim.kill()
    return words


def status_from(port: int, ca: Path, source: str, path: str) -> int:
    """The HTTP status that a peer of this address gets."""
    context = ssl.create_default_context(cafile=str(ca))
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, source_address=(source, 0), timeout=10)
    with closing(connection):
        connection.request("POST", path, b"", {"content-type": "application/x-protobuf"})
        with connection.getresponse() as answer:
            return answer.status


def prepare(folder: Path) -> tuple[int, bytes]:
    write_bundle(folder / "start.tegu", bundle())
    write_partitions(folder / "rows", population(USERS), NODES)
    (port,) = free_ports(1)
    (folder / "federation.toml").write_text(FILE.format(port=port, rounds=ROUNDS, nodes=NODES))
    private, public = new_key_pair()
    (folder / "signing.key").touch(0o600)
    (folder / "signing.key").write_text(private.hex())
    nodes = [word for node in range(NODES) for word in ("--node", f"node-{node}")]
    tegu(folder, "certificates", "keys", *nodes)
    return port, public


@contextmanager
def nothing_left(folder: Path) -> Iterator[None]:
    """Ends what a killed server leaves running, if the test does not come so far that the next one does."""
    try:
        yield
    finally:
        for process in flower_processes(folder):
            with suppress(psutil.NoSuchProcess):
                process.kill()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    folder = tmp_path_factory.mktemp("serve")
    port, public = prepare(folder)
    moment = random.Random(17)
    faults: list[str] = []
    joins = [("join", "federation.toml", "--key", f"keys/node-{node}", "--data", f"rows/{node}.npz")
             for node in range(NODES)]  # fmt: skip
    with (
        nothing_left(folder),
        started(folder, "join-0", *joins[0]) as first,
        started(folder, "join-1", *joins[1]) as second,
        started(folder, "join-2", *joins[2]) as third,
    ):
        with started(folder, "serve", "serve", "federation.toml") as server:
            wait_until(lambda: "serving at" in server.said())
            paths = ("/v1/control/list-nodes", "/v1/runtime/acquire-task", "/v1/fleet/pull-messages")
            asked = {path: status_from(port, folder / "keys/ca.crt", "127.0.0.2", path) for path in paths}
            nodes = (first, second, third)
            wait_until(lambda: all("does not know this node's key" in node.said() for node in nodes))
            tegu(folder, "nodes", "add", "federation.toml", *(f"keys/node-{node}.pub" for node in range(NODES)))
            wait_until(lambda: rounds_run(folder) >= 1)
            for number, victim in enumerate(KILLED, 1):
                wait_until(lambda number=number: rounds_run(folder) >= number)  # type: ignore[misc]
                time.sleep(moment.uniform(0, 4))
                faults.append(kill(folder, victim))
            wait_until(lambda: rounds_run(folder) >= 4)
            server.stop(signal.SIGKILL)
            faults.append("tegu serve")
            faults.append(kill(folder, "flwr-serverapp"))
        with started(folder, "serve", "serve", "federation.toml") as server:
            code = server.process.wait(300)
            assert code == 0, server.said()
            processes = flower_processes(folder)
            joined = [each.said() for each in nodes]
            return Served(folder, public, server.said(), joined, asked, faults, processes)


def test_the_result_is_that_of_an_undisturbed_run(served: Served) -> None:
    assert served.faults == [*KILLED, "tegu serve", "flwr-serverapp"]
    expected = train_in_process(looped_engine(), population(USERS), bundle().meta, PLAN)
    assert max_difference(served.bundle.meta, expected.meta) < 1e-5
    assert max_difference(served.bundle.meta, bundle().meta) > 0.05


def test_every_round_counts_once_and_names_its_nodes(served: Served) -> None:
    rounds = json.loads((served.folder / "out/rounds.json").read_text())
    assert [each["round"] for each in rounds["log"]] == list(range(1, ROUNDS + 1))
    assert all(len(each["nodes"]) == NODES for each in rounds["log"]), rounds["log"]
    assert list(rounds["users"]) == [str(number) for number in range(1, ROUNDS + 1)]
    assert served.bundle.manifest.training["users_a_round"] == rounds["users"]
    assert rounds["resumed_at"] >= 4


def test_an_operator_reads_what_happens(served: Served) -> None:
    assert f"waiting: 0 of {NODES} connected" in served.said
    assert f"started, at round 0 of {ROUNDS}" in served.said
    assert re.search(rf"^resumed after round [1-3] of {ROUNDS}$", served.said, re.MULTILINE)
    shown = re.findall(rf"^round (\d) of {ROUNDS}: \d+ people of 3 nodes, ", served.said, re.MULTILINE)
    # One round ended in the moment in which the server was killed: it may be in the records alone.
    assert [number for number in map(str, range(1, ROUNDS + 1)) if number not in shown] in ([], ["4"], ["5"])
    assert shown == sorted(set(shown)), "no round is shown twice"
    assert "the SuperLink has ended with code -9: it is started again" in served.said
    assert served.said.rstrip().endswith("init.tegu")


def test_nodes_come_back_by_themselves(served: Served) -> None:
    assert all("does not know this node's key" in text for text in served.joined)
    assert all("connected\n" in text for text in served.joined)
    assert "the SuperNode has ended with code -9" in served.joined[1]


def test_other_machines_reach_the_nodes_api_alone(served: Served) -> None:
    assert served.asked["/v1/control/list-nodes"] == served.asked["/v1/runtime/acquire-task"] == 403
    assert served.asked["/v1/fleet/pull-messages"] not in (403, 404)


def test_the_same_command_again_ends_at_once(served: Served) -> None:
    before = {path: path.read_bytes() for path in (served.folder / "out").rglob("*") if path.is_file()}
    said = tegu(served.folder, "serve", "federation.toml")
    assert f"already at round {ROUNDS} of {ROUNDS}" in said
    after = {path: path.read_bytes() for path in (served.folder / "out").rglob("*") if path.is_file()}
    assert {path.name for path in after if after[path] != before.get(path)} <= {"init.tegu"}, "which is signed again"
    status = json.loads(tegu(served.folder, "status", "federation.toml", "--json"))
    assert (status["state"], status["round"], status["checkpoint"]) == ("finished", ROUNDS, f"round {ROUNDS}")


def test_no_process_remains_and_no_secret_was_written(served: Served) -> None:
    assert running(flower_processes(served.folder)) == []
    assert running(served.processes) == []
    secret = (served.folder / "signing.key").read_bytes()
    texts = [path for path in served.folder.rglob("*") if path.suffix in (".log", ".txt", ".json", ".jsonl", ".toml")]
    assert len(texts) > NODES
    assert not [path for path in texts if secret in path.read_bytes() or b"PRIVATE KEY" in path.read_bytes()]
    assert (served.folder / "state/server/superexec.secret").stat().st_mode & 0o077 == 0
