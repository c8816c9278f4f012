"""A Grid inside this process whose nodes take their time, on a clock that nobody waits for.

For federations with slow, missing and failing nodes: what takes hours there takes as long as its computations here, and
repeats bit for bit.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import NamedTuple

from flwr.app import Error, Message

from tegu.sim.federation.grid import InProcessGrid, MessageHandler

__all__ = ["ClockedGrid", "SimulatedClock"]

_UNAVAILABLE = 5  # Flower's code for a node that has gone
_POLL_SECONDS = 0.5


class SimulatedClock:
    """A clock that stands still until somebody sleeps."""

    def __init__(self) -> None:
        self._now = 0.0

    def __repr__(self) -> str:
        return f"SimulatedClock({self._now:.1f} s)"

    def now(self) -> float:
        """Seconds since it was made."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Move on at once."""
        self._now += seconds


class _Work(NamedTuple):
    """A message that a node has received.

    Attributes:
        message: the message.
        reply: its reply.
        ready: when the reply is there; infinite for never.
    """

    message: Message
    reply: Message
    ready: float


class ClockedGrid(InProcessGrid):
    """Nodes that answer one message after the other.

    Args:
        nodes: number of nodes; their ids are 1, 2, ...
        answer: from messages to replies, one for each.
        seconds: how long a node takes for a message, by its id and the time at which it begins; infinite for a node
            that never answers.
        is_connected: whether a node is connected, by its id and the time. The reply of a node that is not is lost.
        clock: the time.
    """

    def __init__(
        self,
        nodes: int,
        answer: MessageHandler,
        seconds: Callable[[int, float], float],
        is_connected: Callable[[int, float], bool] = lambda node, now: True,
        clock: SimulatedClock | None = None,
    ) -> None:
        super().__init__(nodes, answer)
        self.clock = clock or SimulatedClock()
        self._seconds, self._is_connected = seconds, is_connected
        self._work: dict[str, _Work] = {}
        self._free_at: dict[int, float] = {}
        self._numbers = itertools.count(1)

    def get_node_ids(self) -> Iterable[int]:
        """The ids of the nodes that are connected now."""
        return [node for node in super().get_node_ids() if self._is_connected(node, self.clock.now())]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Give each node its message, and each message an id."""
        batch = list(messages)
        for message in batch:
            message.metadata.__dict__["_message_id"] = f"message-{next(self._numbers)}"
        for message, reply in zip(batch, self._answer(batch) if batch else [], strict=True):
            node = message.metadata.dst_node_id
            begins = max(self.clock.now(), self._free_at.get(node, 0.0))
            self._free_at[node] = ready = begins + self._seconds(node, begins)
            self._work[message.metadata.message_id] = _Work(message, reply, ready)
        return [message.metadata.message_id for message in batch]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies that are ready, and errors of the server's for those that were lost; each is returned once."""
        found, now = [], self.clock.now()
        for key in message_ids:
            work = self._work.get(key)
            if work is None:
                continue
            if not self._is_connected(work.message.metadata.dst_node_id, now):
                lost = Message(Error(_UNAVAILABLE, "the node is gone"), reply_to=work.message)
                lost.metadata.__dict__["_src_node_id"] = 1
                found.append(lost)
            elif work.ready <= now:
                found.append(work.reply)
            else:
                continue
            del self._work[key]
        return found

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """The replies that come in time, which passes meanwhile."""
        waiting, found, began = list(self.push_messages(messages)), list[Message](), self.clock.now()
        while waiting and (timeout is None or self.clock.now() - began < timeout):
            replies = list(self.pull_messages(waiting))
            found += replies
            answered = {reply.metadata.reply_to_message_id for reply in replies}
            waiting = [key for key in waiting if key not in answered]
            if waiting:
                self.clock.sleep(_POLL_SECONDS)
        return found
