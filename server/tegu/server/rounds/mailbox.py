"""Messages on their way to nodes, and whose they are.

Flower reports a lost reply as an error of the server's. The id of the message that it answers tells whose it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from flwr.app import Error, Message
from flwr.serverapp import Grid

__all__ = ["LOST", "Arrival", "Mailbox"]

# Of `flwr.common.constant.ErrorCode`: message, reply or node unavailable, and a ClientApp that was killed.
LOST = frozenset({3, 4, 5, 8})
_NOT_SENT = Error(3, "the message could not be sent")


class Arrival(NamedTuple):
    """A reply, and the message that it answers.

    Attributes:
        sent: the message.
        reply: the reply, as one of the node that was asked, whatever it says itself.
    """

    sent: Message
    reply: Message

    @property
    def node(self) -> int:
        """Id of the node that was asked."""
        return self.sent.metadata.dst_node_id

    @property
    def is_lost(self) -> bool:
        """Whether the reply was lost on its way, so that the node may be asked again."""
        return self.reply.has_error() and self.reply.error.code in LOST


class Mailbox:
    """The messages that were sent and not yet answered.

    Args:
        grid: sends them.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._sent: dict[str, Message] = {}
        self._not_sent: list[Message] = []

    def __repr__(self) -> str:
        return f"Mailbox({len(self._sent)} messages on their way)"

    @property
    def nodes(self) -> frozenset[int]:
        """Ids of the nodes that have not yet answered."""
        return frozenset(message.metadata.dst_node_id for message in self._sent.values())

    def nodes_since(self, number: int) -> frozenset[int]:
        """Ids of the nodes that have not yet answered a round of this number or a later one."""
        recent = (message.metadata for message in self._sent.values() if int(message.metadata.group_id) >= number)
        return frozenset(metadata.dst_node_id for metadata in recent)

    def send(self, messages: Iterable[Message]) -> list[Message]:
        """Send copies of the messages, and return the copies: Flower gives each message an id of its own."""
        copies = [_copy(message) for message in messages]
        if not copies:
            return []
        ids = [*self._grid.push_messages(copies)]
        for copy, key in zip(copies, ids or [""] * len(copies), strict=True):
            if key:
                self._sent[key] = copy
            else:
                self._not_sent.append(copy)
        return copies

    def collect(self) -> list[Arrival]:
        """The replies that have arrived since the last call, by node in ascending order."""
        found = [Arrival(message, Message(_NOT_SENT, reply_to=message)) for message in self._not_sent]
        self._not_sent.clear()
        for reply in self._grid.pull_messages(list(self._sent)) if self._sent else ():
            sent = self._sent.pop(reply.metadata.reply_to_message_id, None)
            if sent is not None:
                found.append(Arrival(sent, Message(reply.error if reply.has_error() else reply.content, reply_to=sent)))
        return sorted(found, key=lambda arrival: arrival.node)


def _copy(message: Message) -> Message:
    """The same message, which Flower has not yet given an id."""
    metadata = message.metadata
    return Message(
        message.content,
        dst_node_id=metadata.dst_node_id,
        message_type=metadata.message_type,
        group_id=metadata.group_id,
        ttl=metadata.ttl,
    )
