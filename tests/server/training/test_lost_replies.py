"""A node whose reply was lost is asked again once it is back, and an error names it otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from flwr.app import ConfigRecord, Error, Message, MessageType, RecordDict
from flwr.serverapp import Grid

from tegu.server.training import lost_replies
from tegu.server.training.lost_replies import AskingAgain
from tegu.sim.federation.grid import flower_identity

UNAVAILABLE, RAISED = 5, 2


class Flaky(Grid):
    """Nodes that lose a number of replies each, as Flower reports it: by an error whose sender is the server."""

    def __init__(self, losses: dict[int, int], connected: Sequence[int], code: int = UNAVAILABLE) -> None:
        self.losses, self.connected, self.code = dict(losses), connected, code
        self.asked: list[list[int]] = []

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        sent = list(messages)
        self.asked.append([message.metadata.dst_node_id for message in sent])
        return [self.reply(message) for message in sent]

    def reply(self, message: Message) -> Message:
        node = message.metadata.dst_node_id
        if not self.losses.get(node):
            return Message(message.content, reply_to=message)
        self.losses[node] -= 1
        error = Message(Error(self.code, "lost"), reply_to=message)
        error.metadata.__dict__["_src_node_id"] = 1
        return error

    def get_node_ids(self) -> Sequence[int]:
        return self.connected

    def set_run(self, run: Any) -> None:
        raise NotImplementedError

    run = property(lambda self: None)  # type: ignore[assignment]

    def create_message(self, *arguments: Any, **options: Any) -> Message:
        raise NotImplementedError

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        raise NotImplementedError

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        raise NotImplementedError


def ask(grid: Grid, patience: float = 0.0) -> dict[int, int | None]:
    """The error code by node of the replies of nodes 7, 8 and 9; None for no error."""
    with flower_identity():
        messages = [
            Message(
                RecordDict({"c": ConfigRecord({"n": node})}),
                dst_node_id=node,
                message_type=MessageType.TRAIN,
                group_id="1",
            )
            for node in (7, 8, 9)
        ]
        replies = list(AskingAgain(grid, patience).send_and_receive(messages, timeout=5))
        assert len(replies) == 3
        assert all(reply.has_error() or reply.content["c"]["n"] == reply.metadata.src_node_id for reply in replies)
        return {reply.metadata.src_node_id: reply.error.code if reply.has_error() else None for reply in replies}


def test_nothing_lost_is_one_question() -> None:
    grid = Flaky({}, [7, 8, 9])
    assert ask(grid) == {7: None, 8: None, 9: None}
    assert grid.asked == [[7, 8, 9]]


def test_only_the_lost_are_asked_again() -> None:
    grid = Flaky({8: 1, 9: 2}, [7, 8, 9])
    assert ask(grid) == {7: None, 8: None, 9: None}
    assert grid.asked == [[7, 8, 9], [8, 9], [9]]


def test_a_node_that_is_lost_every_time_is_left_out_by_name() -> None:
    grid = Flaky({8: 9}, [7, 8, 9])
    assert ask(grid) == {7: None, 8: UNAVAILABLE, 9: None}
    assert len(grid.asked) == 3


def test_a_node_that_is_gone_is_left_out_by_name() -> None:
    grid = Flaky({8: 1, 9: 1}, [7, 9])
    assert ask(grid) == {7: None, 8: UNAVAILABLE, 9: None}
    assert grid.asked == [[7, 8, 9], [9]]


def test_it_waits_for_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = Flaky({8: 1}, [7, 9])
    monkeypatch.setattr(lost_replies, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(lost_replies.time, "sleep", lambda seconds: setattr(grid, "connected", [7, 8, 9]))
    assert ask(grid, patience=5) == {7: None, 8: None, 9: None}


def test_an_error_of_the_node_itself_stands() -> None:
    grid = Flaky({}, [7, 8, 9], RAISED)

    def raised(message: Message) -> Message:
        return Message(Error(RAISED, "no rows"), reply_to=message)

    grid.reply = raised  # type: ignore[method-assign]
    assert ask(grid) == {7: RAISED, 8: RAISED, 9: RAISED}
    assert grid.asked == [[7, 8, 9]]
