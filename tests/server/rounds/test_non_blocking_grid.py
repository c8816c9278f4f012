"""Replies come when they are uploaded, as those of their senders, and an upload that stalls holds up no other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Error, Message, MessageType, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_to_proto
from flwr.proto.message_pb2 import ConfirmMessageReceivedResponse, ObjectTree, PullObjectResponse
from flwr.proto.runtime_pb2 import PullAppMessagesResponse
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.run import Run
from flwr.superlink.grid.http_grid import HttpGrid

from tegu.server.rounds.non_blocking_grid import NonBlockingGrid, non_blocking
from tegu.sim.federation.grid import InProcessGrid, flower_identity

UNREADABLE, UNAVAILABLE = 2, 4


class SuperLink:
    """The calls that a grid makes. `b""` stands for an object that is not yet uploaded."""

    def __init__(self) -> None:
        self.announced: dict[str, tuple[Any, Any]] = {}
        self.objects: dict[str, bytes] = {}
        self.confirmed: list[str] = []
        self.asked: list[str] = []
        self.poisoned, self.status = "", 500

    def announce(self, reply: Message, tree: ObjectTree | None = None) -> None:
        """A reply is announced, and nothing of it uploaded."""
        tree = get_object_tree(reply) if tree is None else tree
        sent = message_to_proto(remove_content_from_message(reply))
        sent.metadata.message_id = tree.object_id
        self.announced[reply.metadata.reply_to_message_id] = sent, tree
        waiting = [tree]
        while waiting:
            each = waiting.pop()
            self.objects.setdefault(each.object_id, b"")
            waiting.extend(each.children)

    def PullMessages(self, request: Any) -> PullAppMessagesResponse:  # noqa: N802
        """Flower's call. Each reply is told of once."""
        if self.poisoned in request.message_ids:
            response = httpx.Response(self.status, request=httpx.Request("POST", "http://localhost"))
            response.raise_for_status()
        found = [self.announced.pop(name) for name in request.message_ids if name in self.announced]
        return PullAppMessagesResponse(
            messages_list=[sent for sent, _ in found], message_object_trees=[tree for _, tree in found]
        )

    def PullObject(self, request: Any) -> PullObjectResponse:  # noqa: N802
        """Flower's call."""
        self.asked.append(request.object_id)
        content = self.objects.get(request.object_id)
        return PullObjectResponse(
            object_found=content is not None, object_available=bool(content), object_content=content or b""
        )

    def ConfirmMessageReceived(self, request: Any) -> ConfirmMessageReceivedResponse:  # noqa: N802
        """Flower's call."""
        self.confirmed.append(request.message_object_id)
        return ConfirmMessageReceivedResponse()


@pytest.fixture
def superlink() -> SuperLink:
    return SuperLink()


@pytest.fixture
def grid(superlink: SuperLink) -> Iterator[NonBlockingGrid]:
    flower = HttpGrid(token="any")
    flower._client = superlink  # type: ignore[assignment]
    flower.set_run(Run.create_empty(1))
    with flower_identity():
        yield NonBlockingGrid(flower)


def replied(number: int, content: RecordDict | Error | None = None) -> Message:
    """The reply of a node to a message of its own."""
    asked = Message(RecordDict(), dst_node_id=number, message_type=MessageType.TRAIN, group_id="1")
    asked.metadata.__dict__["_message_id"] = f"{number:064x}"
    values = ArrayRecord({"w": Array(np.full(3, number, np.float32))})
    return Message(RecordDict({"a": values}) if content is None else content, reply_to=asked)


def objects_of(reply: Message) -> dict[str, bytes]:
    return {name: each.deflate() for name, each in get_all_nested_objects(reply).items()}


def pulled(grid: NonBlockingGrid, *numbers: int) -> dict[int, Message]:
    """The replies of these nodes that are there, by node."""
    found = list(grid.pull_messages([f"{number:064x}" for number in numbers]))
    return {reply.metadata.src_node_id: reply for reply in found}


def test_only_flower_s_own_grid_waits() -> None:
    other = InProcessGrid(1, lambda messages: [])
    assert non_blocking(other) is other
    assert isinstance(non_blocking(HttpGrid(token="any")), NonBlockingGrid)


def test_a_reply_comes_once_and_whole(superlink: SuperLink, grid: NonBlockingGrid) -> None:
    reply = replied(7)
    superlink.announce(reply)
    superlink.objects |= objects_of(reply)
    found = pulled(grid, 7, 8)
    assert found.keys() == {7}
    assert found[7].content["a"]["w"].numpy().tolist() == [7, 7, 7]
    assert found[7].metadata.reply_to_message_id == reply.metadata.reply_to_message_id
    assert superlink.confirmed == [reply.object_id]
    assert pulled(grid, 8) == {}


def test_an_error_comes_as_an_error(superlink: SuperLink, grid: NonBlockingGrid) -> None:
    reply = replied(7, Error(1, "it has failed"))
    superlink.announce(reply)
    superlink.objects |= objects_of(reply)
    assert pulled(grid, 7)[7].error.reason == "it has failed"


def test_an_upload_that_stalls_holds_up_no_other(superlink: SuperLink, grid: NonBlockingGrid) -> None:
    slow, quick = replied(1), replied(2)
    superlink.announce(slow)
    superlink.announce(quick)
    superlink.objects |= objects_of(quick)
    first = objects_of(slow)
    (chunk,) = (name for name, data in first.items() if data.startswith(b"ArrayChunk "))
    last = chunk, first.pop(chunk)
    superlink.objects |= dict(first)
    assert pulled(grid, 1, 2).keys() == {2}
    assert pulled(grid, 1) == {}
    superlink.asked.clear()
    superlink.objects |= dict([last])
    assert pulled(grid, 1)[1].content["a"]["w"].numpy().tolist() == [1, 1, 1]
    assert superlink.asked == [last[0]], "the others are here already"


def test_an_upload_that_the_superlink_gives_up_is_lost(superlink: SuperLink, grid: NonBlockingGrid) -> None:
    superlink.announce(replied(1))
    assert pulled(grid, 1) == {}
    superlink.objects.clear()
    found = pulled(grid, 1)[1]
    assert found.error.code == UNAVAILABLE, "the node is asked again"
    assert "has not ended in time" in found.error.reason


def test_a_large_reply_takes_no_more_than_a_second_of_a_call(
    superlink: SuperLink, grid: NonBlockingGrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = iter(range(0, 100, 2))
    monkeypatch.setattr(
        "tegu.server.rounds.non_blocking_grid.time", SimpleNamespace(monotonic=lambda: next(moments) / 4)
    )
    reply = replied(1)
    superlink.announce(reply)
    superlink.objects |= objects_of(reply)
    calls = 1
    while not (found := pulled(grid, 1)):
        calls += 1
    assert found[1].content["a"]["w"].numpy().tolist() == [1, 1, 1]
    assert calls > 1
    assert len(superlink.asked) == len(objects_of(reply)), "no object is taken twice"


def test_a_reply_that_the_superlink_cannot_read_hides_no_other(superlink: SuperLink, grid: NonBlockingGrid) -> None:
    bad, good = replied(1), replied(2)
    superlink.poisoned = bad.metadata.reply_to_message_id
    superlink.announce(good)
    superlink.objects |= objects_of(good)
    found = {reply.metadata.reply_to_message_id: reply for reply in grid.pull_messages([f"{n:064x}" for n in (1, 2)])}
    assert found[superlink.poisoned].error.code == UNREADABLE
    assert found[good.metadata.reply_to_message_id].content["a"]["w"].numpy().tolist() == [2, 2, 2]


def test_another_refusal_of_the_superlink_is_an_error(superlink: SuperLink, grid: NonBlockingGrid) -> None:
    superlink.poisoned, superlink.status = f"{1:064x}", 401
    with pytest.raises(httpx.HTTPStatusError):
        list(grid.pull_messages([superlink.poisoned]))


def test_a_reply_is_its_sender_s_whatever_it_says(superlink: SuperLink, grid: NonBlockingGrid) -> None:
    own, forged = replied(1), replied(2)
    superlink.announce(own, get_object_tree(forged))
    superlink.objects |= objects_of(forged)
    found = pulled(grid, 1)[1]
    assert found.metadata.reply_to_message_id == own.metadata.reply_to_message_id
    assert found.content["a"]["w"].numpy().tolist() == [2, 2, 2], "what it has sent"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"no object at all", "is not readable"),
        (b"Message  3\x00abc", "is not readable"),
        (b"RecordDict  2\x00{}", "RecordDict in place of a Message"),
        (b"Message  0\x00", "is not readable"),
    ],
)
def test_what_nobody_can_read_is_an_error(superlink: SuperLink, grid: NonBlockingGrid, data: bytes, said: str) -> None:
    name = hashlib.sha256(data).hexdigest()
    superlink.announce(replied(1), ObjectTree(object_id=name))
    superlink.objects[name] = data
    found = pulled(grid, 1)[1]
    assert found.error.code == UNREADABLE, "the node is not asked again"
    assert said in found.error.reason
    assert superlink.confirmed == [name]


def test_a_content_that_is_no_content_is_an_error(superlink: SuperLink, grid: NonBlockingGrid) -> None:
    reply = replied(1)
    contents = objects_of(reply)
    (arrays,) = (name for name, data in contents.items() if data.startswith(b"ArrayRecord "))
    (content,) = (name for name, data in contents.items() if data.startswith(b"RecordDict "))
    top = contents[reply.object_id].replace(content.encode(), arrays.encode())
    name = hashlib.sha256(top).hexdigest()
    (tree,) = (each for each in get_object_tree(reply).children[0].children if each.object_id == arrays)
    superlink.announce(reply, ObjectTree(object_id=name, children=[tree]))
    superlink.objects |= {**contents, name: top}
    assert "is not readable" in pulled(grid, 1)[1].error.reason


def test_an_array_that_repeats_a_chunk_is_refused_before_it_is_made(
    superlink: SuperLink, grid: NonBlockingGrid
) -> None:
    """8 kB and a list of places would be 2 GB."""
    reply = replied(1, RecordDict({"a": ArrayRecord({"w": Array(np.ones(2000, np.float32))})}))
    contents = objects_of(reply)
    (name,) = (name for name, data in contents.items() if data.startswith(b"Array "))
    head, _, body = contents[name].partition(b"\x00")
    body = json.dumps({**json.loads(body), "arraychunk_ids": [0] * 300_000}).encode()
    contents[name] = b" ".join([*head.split(b" ")[:2], str(len(body)).encode()]) + b"\x00" + body
    superlink.announce(reply)
    superlink.objects |= contents
    found = pulled(grid, 1)[1]
    assert found.error.code == UNREADABLE
    assert "bytes in arrays: expected at most 1,073,741,824" in found.error.reason


def test_a_description_without_end_is_not_read(superlink: SuperLink, grid: NonBlockingGrid) -> None:
    data = b"Array  %d\x00%s" % (1 << 21, b"[" * (1 << 21))
    name = hashlib.sha256(data).hexdigest()
    superlink.announce(replied(1), ObjectTree(object_id=name))
    superlink.objects[name] = data
    assert "bytes in the description of an array" in pulled(grid, 1)[1].error.reason


def test_too_many_objects_are_not_asked_for(superlink: SuperLink, grid: NonBlockingGrid) -> None:
    data = b"Message %s 0\x00" % ",".join(f"{number:064x}" for number in range(10_000)).encode()
    name = hashlib.sha256(data).hexdigest()
    superlink.announce(replied(1), ObjectTree(object_id=name))
    superlink.objects[name] = data
    assert "has 10,001 objects: expected at most 10,000" in pulled(grid, 1)[1].error.reason
    assert superlink.asked == [name]


def test_children_are_those_that_objects_name(superlink: SuperLink, grid: NonBlockingGrid) -> None:
    """Another device may have announced an object with a false child."""
    reply = replied(1)
    tree = get_object_tree(reply)
    tree.children[0].children.add().object_id = "f" * 64
    superlink.announce(reply, tree)
    superlink.objects |= objects_of(reply)
    assert pulled(grid, 1)[1].content["a"]["w"].numpy().tolist() == [1, 1, 1]
