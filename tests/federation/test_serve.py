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
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from tests.federation.killing import (
    JOINS,
    KILLED,
    NODES,
    USERS,
    kill,
    nothing_left,
    plan,
    prepare,
    rounds_run,
    started,
    tegu,
    wait_until,
)
from tests.federation.tiny import bundle, flower_processes, looped_engine, population, running

from tegu.core.bundle.file import Bundle, read_bundle
from tegu.core.data.tree import max_difference
from tegu.sim.training.in_process import train_in_process

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("superlink")]

ROUNDS = 6


class Served(NamedTuple):
    """A federation that has ended, and what was observed while it ran."""

    folder: Path
    public_key: bytes
    said: str
    joined: list[str]
    asked: dict[str, int]
    faults: list[str]
    processes: set[psutil.Process]
    recorded: int  # rounds, once server and ServerApp were killed

    @property
    def bundle(self) -> Bundle:
        return read_bundle(self.folder / "out" / "init.tegu", self.public_key)


def status_from(port: int, ca: Path, source: str, path: str) -> int:
    """The HTTP status that a peer of this address gets."""
    context = ssl.create_default_context(cafile=str(ca))
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, source_address=(source, 0), timeout=10)
    with closing(connection):
        connection.request("POST", path, b"", {"content-type": "application/x-protobuf"})
        with connection.getresponse() as answer:
            return answer.status


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    folder = tmp_path_factory.mktemp("serve")
    port, public = prepare(folder, ROUNDS)
    moment = random.Random(17)
    faults: list[str] = []
    with (
        nothing_left(folder),
        started(folder, "join-0", *JOINS[0]) as first,
        started(folder, "join-1", *JOINS[1]) as second,
        started(folder, "join-2", *JOINS[2]) as third,
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
            recorded = rounds_run(folder)
        with started(folder, "serve", "serve", "federation.toml") as server:
            code = server.process.wait(300)
            assert code == 0, server.said()
            processes = flower_processes(folder)
            joined = [each.said() for each in nodes]
            return Served(folder, public, server.said(), joined, asked, faults, processes, recorded)


def test_the_result_is_that_of_an_undisturbed_run(served: Served) -> None:
    assert served.faults == [*KILLED, "tegu serve", "flwr-serverapp"]
    expected = train_in_process(looped_engine(), population(USERS), bundle().meta, plan(ROUNDS))
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
    # Rounds that ended around the kill of the server, before that of the ServerApp, may be in the records alone.
    missing = {number for number in range(1, ROUNDS + 1) if str(number) not in shown}
    assert missing <= set(range(4, served.recorded + 1))
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
