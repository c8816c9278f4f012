"""What a round has brought, and the interface of what runs it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from flwr.app import Message

from tegu.server.replies.refusal import Refusal
from tegu.wire import Reply, payload_bytes

__all__ = ["Found", "MessageTo", "Read", "Rounds", "bytes_of"]

MessageTo: TypeAlias = Callable[[int], Message]
"""From a node's id to the round's message for it."""
Read: TypeAlias = Callable[[Sequence[Message]], tuple[dict[int, Reply], list[Refusal]]]
"""From messages to the usable replies by node, and the others."""


@dataclass(frozen=True)
class Found:
    """What a round has brought.

    Attributes:
        usable: checked replies by node.
        refused: replies that were left out, and failures that nodes have reported.
        late: ids of the nodes that had not answered when the round closed.
        came_late: number of answers to earlier rounds that came in this one and were dropped.
        received: bytes of the nodes' updates.
        stale: of an asynchronous round, the number of steps since each node has received its parameters.
        in_flight: of an asynchronous round, number of nodes that have still to answer.
    """

    usable: dict[int, Reply]
    refused: list[Refusal]
    late: tuple[int, ...] = ()
    came_late: int = 0
    received: int = 0
    stale: Mapping[int, int] = field(default_factory=dict)
    in_flight: int = 0


class Rounds(Protocol):
    """Runs the training rounds of a federation."""

    @property
    def busy(self) -> Collection[int]:
        """Ids of nodes that have not yet answered."""

    def run(self, number: int, message_to: MessageTo, read: Read) -> Found:
        """Ask nodes in a round, and return what it has brought: a quorum at least.

        Args:
            number: of the round, from 1.
            message_to: makes the round's message for a node.
            read: checks the replies.

        Raises:
            FederationError: too few nodes are connected, or too few answer.
        """


def bytes_of(messages: Sequence[Message]) -> int:
    """Bytes of the arrays in messages."""
    return sum(payload_bytes(message.content) for message in messages if not message.has_error())
