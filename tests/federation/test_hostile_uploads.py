"""Replies that are announced, with uploads that never come, that nobody can read, that lie, that take others'
places, or that are interrupted."""

from __future__ import annotations

import math
import ssl
import time
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest
from tests.federation.participants import devices, make_federation, participant, started, tegu, wait_until
from tests.federation.tiny import population

from tegu.bench.soak.vandal import Answer, Vandal
from tegu.client.federation.http import Connection, UnreachableError
from tegu.client.participant.flower import records
from tegu.client.participant.flower.fleet import Fleet, Pulled
from tegu.client.participant.flower.objects import Part, _part, message_part, parts_of
from tegu.client.participant.flower.protobuf import message
from tegu.client.participant.flower.upload import upload_of
from tegu.server.rounds.gather import POLL_SECONDS
from tegu.server.training.journal import read_events
from tegu.wire import Reply, read_training_request, training_reply_content

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("superlink")]

HONEST, DEADLINE = 3, 25.0
PEOPLE = population(HONEST, seed=4)
RUN = f"""rounds = 2
cohort = 10
quorum = 3
oversampling = 1.0
deadline = {DEADLINE}
min-support = 2
max-support = 6
max-query = 4
clip = 0.4
calibration-share = 0.0"""


def send(fleet: Fleet, pulled: Pulled, sent: Any, whole: Part, *, objects: bool = True) -> None:
    """Announce a reply, and upload its objects or none."""
    sent.metadata.message_id = whole.id
    node = message("Node", node_id=fleet.node)
    announced = {"messages_list": [sent], "message_object_trees": [whole.tree()], "clientapp_runtime_list": [0.0]}
    answer = fleet._ask("push-messages", "PushMessages", node=node, **announced)
    known = {"node": node, "run_id": pulled.metadata.run_id, "session_id": answer.session_id}
    for name, data in parts_of(whole).items() if objects else ():
        fleet._ask("push-object", "PushObject", **known, object_id=name, object_content=data)


def outgoing(fleet: Fleet, pulled: Pulled) -> tuple[Any, Part, Any]:
    """A reply with an update that is far too long: its message, its objects, and its content."""
    received, _ = read_training_request(fleet.fetch(pulled))
    content = training_reply_content(Reply({name: array + 1e6 for name, array in received.items()}, 1), records)
    upload = upload_of(pulled.metadata, content)
    return upload.sent, upload.whole, content


def silent(fleet: Fleet, pulled: Pulled) -> None:
    """Announces a reply, and uploads none of it."""
    sent, whole, _ = outgoing(fleet, pulled)
    send(fleet, pulled, sent, whole, objects=False)


def wrong_kind(fleet: Fleet, pulled: Pulled) -> None:
    """Uploads an object that is no message."""
    sent, _, _ = outgoing(fleet, pulled)
    send(fleet, pulled, sent, _part("RecordDict", b"{}", ()))


def impostor(fleet: Fleet, pulled: Pulled) -> None:
    """Says within its reply that another node has sent it, to another message."""
    sent, _, content = outgoing(fleet, pulled)
    forged = message("Message", metadata=sent.metadata)
    forged.metadata.message_id = ""
    forged.metadata.src_node_id += 1
    forged.metadata.reply_to_message_id = "0" * 64
    send(fleet, pulled, sent, message_part(forged.SerializeToString(deterministic=True), content))


def squatter(fleet: Fleet, pulled: Pulled) -> None:
    """Announces what the others' replies hold, where it can be guessed, with a child that is not theirs."""
    sent, whole, _ = outgoing(fleet, pulled)
    guessed = (Reply({}, 1, within) for within in (None, 0, 1))
    ids = [message_part(b"", training_reply_content(each, records)).children[0].children[1].id for each in guessed]
    false = [message("ObjectTree", object_id="f" * 64)]
    trees = [message("ObjectTree", object_id=name, children=false) for name in ids]
    announced = message("ObjectTree", object_id=whole.id, children=trees)
    fields = {"messages_list": [sent], "message_object_trees": [announced], "clientapp_runtime_list": [0.0]}
    fleet._ask("push-messages", "PushMessages", node=message("Node", node_id=fleet.node), **fields)


def timeless(fleet: Fleet, pulled: Pulled) -> None:
    """Announces a reply whose time is not a number, which the SuperLink stores and cannot read."""
    sent, whole, _ = outgoing(fleet, pulled)
    sent.metadata.created_at = math.nan
    send(fleet, pulled, sent, whole)


def losing(lost: str, number: int) -> Answer:
    """Is honest. Its connection is lost after a request, and comes back when the ServerApp has noted the reply."""

    def answer(fleet: Fleet, pulled: Pulled) -> None:
        received, _ = read_training_request(fleet.fetch(pulled))
        content = training_reply_content(Reply({name: array * 0 for name, array in received.items()}, 1), records)
        ask, asked = fleet._ask, 0

        def ask_until_lost(path: str, call: str, **fields: Any) -> Any:
            nonlocal asked
            found = ask(path, call, **fields)
            asked += path == lost
            if asked == number:
                raise UnreachableError("lost")
            return found

        fleet._ask = ask_until_lost
        with pytest.raises(UnreachableError):
            fleet.push(pulled, content, 0.0)
        time.sleep(8 * POLL_SECONDS)
        fleet._ask = ask
        fleet.push(pulled, content, 0.0)

    return answer


ANSWERS: dict[str, Answer] = {
    "silent": silent,
    "wrong-kind": wrong_kind,
    "impostor": impostor,
    "squatter": squatter,
    "timeless": timeless,
    "interrupted": losing("push-object", 2),
    "unheard": losing("push-messages", 1),
}


class Ran(NamedTuple):
    """What was seen of the federation.

    Attributes:
        said: what `tegu serve` has printed.
        rounds: the journal's entries.
        nodes: ids of the devices by name.
    """

    said: str
    rounds: list[dict[str, Any]]
    nodes: dict[str, str]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("hostile")
    names = [f"phone-{number}" for number in range(HONEST)]
    server = make_federation(folder, [*names, *ANSWERS], RUN)
    host, port = server.split(":")
    nodes: dict[str, str] = {}

    def noted(name: str, answer: Answer) -> Answer:
        def answer_and_note(fleet: Fleet, pulled: Pulled) -> None:
            nodes[name] = str(fleet.node)
            answer(fleet, pulled)

        return answer_and_note

    with ExitStack() as stack:
        people = stack.enter_context(devices(PEOPLE, folder, range(HONEST)))
        serving = stack.enter_context(started(folder, "serve", "serve", "federation.toml"))
        wait_until(lambda: "serving at" in (folder / "serve.txt").read_text())
        tegu(folder, "nodes", "add", "federation.toml", *(f"keys/{name}.pub" for name in [*names, *ANSWERS]))
        context = ssl.create_default_context(cafile=str(folder / "keys/ca.crt"))
        for name, answer in ANSWERS.items():
            connection = Connection(host, int(port), context, 20.0)
            stack.callback(Vandal(connection, folder / "keys" / name, noted(name, answer)).close)
        for own, key in zip(people, names, strict=True):
            stack.enter_context(participant(own, server, folder, key))
        wait_until(lambda: serving.poll() is not None, 240)
    events, _ = read_events(folder / "out/checkpoints")
    return Ran((folder / "serve.txt").read_text(), [each for each in events if each["event"] == "round"], nodes)


def test_the_run_ends_with_the_replies_of_the_others(ran: Ran) -> None:
    assert [each["round"] for each in ran.rounds] == [1, 2], ran.said
    assert [len(each["nodes"]) for each in ran.rounds] == [HONEST + 2, HONEST + 2]
    assert set(ran.nodes) == set(ANSWERS), "each was asked"


def test_an_upload_goes_on_after_its_connection_was_lost(ran: Ran) -> None:
    assert {ran.nodes["interrupted"], ran.nodes["unheard"]} < set(ran.rounds[0]["nodes"])


def test_an_upload_that_never_comes_holds_nobody_up(ran: Ran) -> None:
    """Flower would wait three minutes for it."""
    assert set(ran.rounds[0]["late"]) == {ran.nodes["silent"], ran.nodes["squatter"]}
    assert DEADLINE <= ran.rounds[0]["seconds"] < DEADLINE + 20
    assert ran.rounds[1]["seconds"] < DEADLINE, "it is not asked again at once"


def test_what_one_announces_refuses_no_other(ran: Ran) -> None:
    """Flower would refuse all later replies that hold an object which the squatter has announced."""
    assert ran.said.count("refused: node") == 1, "that of the impostor"
    assert "attempt" not in ran.said


def test_what_nobody_can_read_is_an_error_of_its_sender(ran: Ran) -> None:
    reasons = {failed["node"]: failed["reason"] for failed in ran.rounds[0]["failed"]}
    assert reasons.keys() == {ran.nodes["wrong-kind"], ran.nodes["timeless"]}
    assert "RecordDict in place of a Message" in reasons[ran.nodes["wrong-kind"]]
    assert "the SuperLink cannot read the reply" in reasons[ran.nodes["timeless"]]


def test_a_reply_counts_as_its_sender_s_whatever_it_says(ran: Ran) -> None:
    (refused,) = ran.rounds[0]["refused"]
    assert (refused["node"], refused["code"]) == (ran.nodes["impostor"], "too-long")
