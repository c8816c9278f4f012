"""A node whose reply was lost is asked again once it is back, and an error names it otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from flwr.app import ConfigRecord, Error, Message, MessageType, RecordDict

from tegu.server.rounds.patient_grid import PatientGrid
from tegu.sim.federation.clocked_grid import ClockedGrid
from tegu.sim.federation.grid import flower_identity

UNAVAILABLE, RAISED = 5, 2
NODES = (1, 2, 3)


class Flaky(ClockedGrid):
    """Nodes that go away before they have answered, so many times each, and come back after a while."""

    def __init__(self, losses: dict[int, int], away: float = 3.0, answer: Callable[[Message], Message] | None = None):
        self.losses, self.away = dict(losses), away
        self.until = dict.fromkeys(NODES, 0.0)
        self.asked: list[list[int]] = []

        def replies(messages: Sequence[Message]) -> list[Message]:
            self.asked.append([message.metadata.dst_node_id for message in messages])
            for node in self.asked[-1]:
                if self.losses.get(node, 0):
                    self.losses[node] -= 1
                    self.until[node] = self.clock.now() + self.away
            return [answer(m) if answer else Message(m.content, reply_to=m) for m in messages]

        super().__init__(len(NODES), replies, lambda node, now: 1.0, lambda node, now: now >= self.until[node])


def ask(grid: Flaky, timeout: float | None = 300.0, patience: float = 60.0) -> dict[int, int | None]:
    """The error code by node of the replies; None for no error."""
    with flower_identity():
        messages = [
            Message(
                RecordDict({"c": ConfigRecord({"n": node})}),
                dst_node_id=node,
                message_type=MessageType.TRAIN,
                group_id="1",
            )
            for node in NODES
        ]
        patient = PatientGrid(grid, clock=grid.clock, patience=patience)
        replies = list(patient.send_and_receive(messages, timeout=timeout))
        assert all(reply.has_error() or reply.content["c"]["n"] == reply.metadata.src_node_id for reply in replies)
        return {reply.metadata.src_node_id: reply.error.code if reply.has_error() else None for reply in replies}


def test_nothing_lost_is_one_question() -> None:
    grid = Flaky({})
    assert ask(grid) == {1: None, 2: None, 3: None}
    assert grid.asked == [[1, 2, 3]]
    assert grid.clock.now() == pytest.approx(1, abs=0.6)


def test_only_the_lost_are_asked_again() -> None:
    grid = Flaky({2: 1, 3: 2})
    assert ask(grid) == {1: None, 2: None, 3: None}
    assert grid.asked == [[1, 2, 3], [2, 3], [3]]


def test_a_node_that_is_lost_every_time_is_left_out_by_name() -> None:
    grid = Flaky({2: 9})
    assert ask(grid) == {1: None, 2: UNAVAILABLE, 3: None}
    assert grid.asked == [[1, 2, 3], [2], [2]]


@pytest.mark.parametrize("patience", [5.0, 60.0])
def test_a_node_that_is_gone_is_left_out_by_name(patience: float) -> None:
    grid = Flaky({2: 1}, away=1e9)
    assert ask(grid, patience=patience) == {1: None, 2: UNAVAILABLE, 3: None}
    assert grid.asked == [[1, 2, 3]]
    assert grid.clock.now() == pytest.approx(patience, abs=1)


def test_the_time_is_up_for_those_that_are_awaited() -> None:
    grid = Flaky({2: 1}, away=1e9)
    assert ask(grid, timeout=10) == {1: None, 2: UNAVAILABLE, 3: None}
    assert grid.clock.now() == pytest.approx(10, abs=1)


def test_an_error_of_the_node_itself_stands() -> None:
    grid = Flaky({}, answer=lambda message: Message(Error(RAISED, "no rows"), reply_to=message))
    assert ask(grid) == {1: RAISED, 2: RAISED, 3: RAISED}
    assert grid.asked == [[1, 2, 3]]


def test_a_reply_is_the_asked_node_s_whatever_it_says() -> None:
    """`ask` compares the content, which is the asked node's, with the sender that the reply is given."""

    def forged(message: Message) -> Message:
        reply = Message(message.content, reply_to=message)
        reply.metadata.__dict__["_src_node_id"] = message.metadata.dst_node_id % len(NODES) + 1
        return reply

    assert ask(Flaky({}, answer=forged)) == {1: None, 2: None, 3: None}


def test_no_message_is_no_question() -> None:
    grid = Flaky({})
    with flower_identity():
        assert list(PatientGrid(grid, clock=grid.clock).send_and_receive([])) == []
    assert grid.asked == []


class Refusing(ClockedGrid):
    """A grid that cannot send, as Flower's where a message is too large: it returns no ids."""

    def push_messages(self, messages: object) -> list[str]:
        return []


def test_a_message_that_cannot_be_sent_is_an_error_of_its_node() -> None:
    grid = Refusing(3, lambda messages: [], lambda node, now: 1.0)
    assert ask(grid) == {1: 3, 2: 3, 3: 3}  # type: ignore[arg-type]
