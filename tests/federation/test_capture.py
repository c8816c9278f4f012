"""All that devices send over a real connection is recorded, and nothing but the declared arrays and metrics is in it.

Training, validation, calibration, refusals and failures are among it. A quick test checks the replies of the same app
in this process, and shows that a leak of each kind is found.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from tests.federation import sine_users
from tests.federation.canaries import canaries, canaries_in
from tests.federation.capture import Request, recording, requests_in
from tests.federation.declared import undeclared, undeclared_object
from tests.federation.nodes import paths_of_run

from tegu.client.federation.client_app import app
from tegu.core.bundle.file import write_bundle
from tegu.core.data.users import LocalUser, write_users
from tegu.server import APP_DIR
from tegu.server.app import train
from tegu.server.deployment import LocalFlower
from tegu.server.deployment.environment import Scalar, free_ports
from tegu.server.run_config import to_config
from tegu.server.training.plan import CohortPlan, EarlyStopping, UpdatePlan
from tegu.sim.data.population import Population
from tegu.sim.federation.grid import InProcessGrid, flower_identity, partitions
from tegu.wire import to_record

NODES, FAILING = 3, 2
PLAN = replace(
    sine_users.PLAN, rounds=1, cohort=CohortPlan(NODES), updates=UpdatePlan(), early_stopping=EarlyStopping(1)
)
RUN: Mapping[str, Scalar] = {
    **to_config(PLAN),
    "calibration-share": sine_users.SHARE,
    "calibration-ks": "1,2,4",
}
SECRET = 987654321.125


def own_users() -> list[LocalUser]:
    """The population's users with names that are found."""
    people: Population = sine_users.population()
    return [people.local(user)._replace(user=f"canary-Ålice-{user}") for user in range(len(people))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("canary-folder")
    write_bundle(made / "start.tegu", sine_users.bundle())
    users = own_users()
    for node, indices in enumerate(partitions(sine_users.population(), 2)):
        write_users(made / f"canary-{node}.npz", [users[index] for index in indices])
    wrong = np.full((3, 4), SECRET, np.float32)
    np.savez(made / f"canary-{FAILING}.npz", x=wrong, y=np.full(3, SECRET), user=["canary-Ålice-wrong"] * 3)
    return made


def node_config(folder: Path, node: int) -> dict[str, Scalar]:
    return {"data": f"{folder}/canary-{node}.npz", "bundle": f"{folder}/start.tegu", "least-evaluated": 1}


@pytest.fixture(scope="module")
def searched(folder: Path) -> dict[bytes, str]:
    secret = LocalUser("canary-Ålice-wrong", np.full(2, SECRET), np.full(2, SECRET))
    found = canaries([*own_users(), secret], [folder, folder.parent])
    assert len(found) > 1000
    return found


def objects_of(message: Message) -> list[bytes]:
    """The objects that a SuperNode pushes for a reply."""
    return [each.deflate() for each in get_all_nested_objects(message).values()]


@pytest.fixture
def replies(folder: Path, tmp_path: Path) -> Iterator[list[Message]]:
    """All replies of the devices' app to a run in this process."""
    kept: list[Message] = []

    def answer(messages: Sequence[Message]) -> list[Message]:
        found = [
            app(message, Context(1, 1, node_config(folder, message.metadata.dst_node_id - 1), RecordDict(), {}))
            for message in messages
        ]
        kept.extend(found)
        return found

    with flower_identity():
        train(InProcessGrid(NODES, answer), {**RUN, **paths_of_run(folder), "out": str(tmp_path / "out")})
        yield kept


def test_replies_hold_only_what_is_declared(replies: list[Message], searched: dict[bytes, str]) -> None:
    errors = [reply for reply in replies if reply.has_error()]
    assert {reply.metadata.message_type for reply in replies} == {"train", "evaluate"}
    assert {reply.metadata.message_type for reply in errors} == {"train", "evaluate"}
    assert len(replies) > len(errors) >= 3, "a node that fails in training, validation and calibration"
    like = sine_users.bundle().meta
    for reply in replies:
        for content in objects_of(reply):
            assert undeclared_object(content, like) == []
            assert canaries_in(content, searched) == []


Leak = Callable[[Message], Message]


def with_record(name: str, record: Any) -> Leak:
    def leak(reply: Message) -> Message:
        return Message(RecordDict({**reply.content, name: record}), reply_to=reply)

    return leak


def with_row(reply: Message) -> Message:
    arrays = {name: np.zeros_like(array) for name, array in sine_users.bundle().meta.items()}
    first = next(name for name, array in arrays.items() if array.size >= 4)
    arrays[first].reshape(-1)[1:4] = np.asarray(own_users()[0].x).reshape(-1)[:3]
    return Message(RecordDict({"update": to_record(arrays), "metrics": MetricRecord({"users": 1})}), reply_to=reply)


LEAKS: dict[str, tuple[Leak, bool, bool]] = {  # whether each of the two searches finds it
    "a name": (with_record("config", ConfigRecord({"user": "canary-Ålice-3"})), True, True),
    "an unknown metric": (with_record("metrics", MetricRecord({"users": 3, "largest-row": 4.0})), True, False),
    "a row as metrics": (
        with_record("metrics", MetricRecord({"sums": np.asarray(own_users()[0].y, float).reshape(-1)[:2].tolist()})),
        False,
        True,
    ),
    "rows in an array": (with_row, False, True),
    "another array": (with_record("rows", to_record({"rows": np.ones((2, 77), np.float32)})), True, False),
    "an error's text": (lambda reply: Message(Error(2, f"DataError: no row {SECRET}"), reply_to=reply), True, True),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_is_found(leak: str, replies: list[Message], searched: dict[bytes, str]) -> None:
    change, as_undeclared, as_canary = LEAKS[leak]
    reply = change(next(each for each in replies if each.has_content() and "update" in each.content))
    objects, like = objects_of(reply), sine_users.bundle().meta
    assert any(undeclared_object(each, like) for each in objects) == as_undeclared
    assert any(canaries_in(each, searched) for each in objects) == as_canary


@pytest.mark.slow
@pytest.mark.xdist_group("superlink")
def test_a_connection_carries_only_what_is_declared(folder: Path, tmp_path: Path, searched: dict[bytes, str]) -> None:
    """SuperNodes that reach a SuperLink through a proxy, which keeps every byte that they send."""
    link_port, *ports = free_ports(NODES + 1)
    link = LocalFlower(APP_DIR, tmp_path / "link", link_port)
    with recording(link_port) as recorder:
        nodes = LocalFlower(APP_DIR, tmp_path / "nodes", recorder.port)
        try:
            link.start_superlink()
            link.wait_until_ready()
            for node, port in enumerate(ports):
                nodes.start_supernode(node, port, node_config(folder, node))
            deadline = time.monotonic() + 120
            while not all("SuperNode ID:" in nodes.log(f"supernode{node}") for node in range(NODES)):
                assert time.monotonic() < deadline
                time.sleep(0.2)
            run = link.run({**RUN, **paths_of_run(folder), "out": str(tmp_path / "out")}, timeout=300)
            assert run.completed, run.log
        finally:
            nodes.stop()
            link.stop()
    requests = [each for sent in recorder.sent for each in requests_in(bytes(sent))]
    check_kinds(requests, json.loads((tmp_path / "out/rounds.json").read_text()))
    like = sine_users.bundle().meta
    assert [each for request in requests for each in undeclared(request, like)] == []
    for sent in recorder.sent:
        assert canaries_in(bytes(sent), searched) == []
    for request in requests:
        assert canaries_in(request.body, searched) == []


def check_kinds(requests: Sequence[Request], summary: Mapping[str, Any]) -> None:
    """The capture holds what it is meant to hold."""
    bodies = b"".join(request.body for request in requests)
    for each in (b"train", b"evaluate", b"answer-0", b"update", b"within-clip", b"DataError: data"):
        assert each in bodies
    assert "1" in summary["users"]
    assert summary["validations"]
    assert summary["refused_in_calibration"]
