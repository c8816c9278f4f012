"""A grid that asks again the nodes whose replies were lost, once they are back.

A node that is killed in a round comes back within a minute, and Flower reports its reply as an error. The same message
gives the same update, so asking again makes the round what it would have been.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence

from flwr.app import Error, Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run

__all__ = ["AskingAgain"]

_log = logging.getLogger(__name__)
# Of `flwr.common.constant.ErrorCode`: message, reply or node unavailable, and a ClientApp that was killed.
_LOST = frozenset({3, 4, 5, 8})
_TIMES = 2  # a node that is lost again and again is left out of the round
_PATIENCE_SECONDS = 120.0  # Flower lets a killed node in again after a minute
_POLL_SECONDS = 0.5


class AskingAgain(Grid):
    """A grid around another one, whose `send_and_receive` asks again.

    Args:
        grid: the connected nodes.
        patience: seconds to wait for lost nodes.
    """

    def __init__(self, grid: Grid, patience: float = _PATIENCE_SECONDS) -> None:
        self._grid, self._patience = grid, patience

    def __repr__(self) -> str:
        return f"AskingAgain({self._grid!r})"

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """The replies to the messages. A reply that stays lost is an error of the node that was asked."""
        asked = {message.metadata.dst_node_id: message for message in messages}
        replies, lost = self._ask(asked, list(asked), timeout)
        for _ in range(_TIMES):
            back = self._wait_for(list(lost))
            if not back:
                break
            _log.warning("asking again %d of %d nodes whose replies were lost", len(back), len(lost))
            more, lost_again = self._ask(asked, back, timeout)
            replies += more
            lost = {node: error for node, error in lost.items() if node not in back} | lost_again
        return replies + [Message(error, reply_to=asked[node]) for node, error in lost.items()]

    def _ask(
        self, asked: dict[int, Message], nodes: Sequence[int], timeout: float | None
    ) -> tuple[list[Message], dict[int, Error]]:
        """The replies of the nodes, and those that were lost. Flower does not say whose a lost reply is."""
        messages = [_copy(asked[node]) for node in nodes]
        replies = list(self._grid.send_and_receive(messages, timeout=timeout))
        errors = [reply.error for reply in replies if reply.has_error() and reply.error.code in _LOST]
        kept = [reply for reply in replies if not (reply.has_error() and reply.error.code in _LOST)]
        silent = [node for node in nodes if node not in {reply.metadata.src_node_id for reply in kept}]
        return kept, dict(zip(silent, errors, strict=False))

    def _wait_for(self, nodes: Sequence[int]) -> list[int]:
        """Those of the nodes that are connected: all of them, or as many as there are after the patience."""
        deadline = time.monotonic() + self._patience
        while True:
            connected = set(self._grid.get_node_ids())
            back = [node for node in nodes if node in connected]
            if len(back) == len(nodes) or time.monotonic() >= deadline:
                return back
            time.sleep(_POLL_SECONDS)

    def set_run(self, run: Run) -> None:
        """As the other grid does."""
        self._grid.set_run(run)

    @property
    def run(self) -> Run:
        """The run."""
        return self._grid.run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """As the other grid does."""
        return self._grid.create_message(content, message_type, dst_node_id, group_id, ttl)

    def get_node_ids(self) -> Iterable[int]:
        """The ids of the connected nodes."""
        return self._grid.get_node_ids()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """As the other grid does."""
        return self._grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """As the other grid does."""
        return self._grid.pull_messages(message_ids)


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
