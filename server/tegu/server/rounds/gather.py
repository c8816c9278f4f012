"""The answers to one question that many nodes are asked, until there are enough or the time is up.

A node that is killed comes back within a minute, and Flower reports its reply as lost. The same message gives the same
update, so such a node is asked again, and either reply counts. Answers that come after their question has closed are
taken from the server's store, counted and dropped.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable

from flwr.app import Message
from flwr.serverapp import Grid

from tegu.server.rounds.clock import Clock
from tegu.server.rounds.closing import is_closed
from tegu.server.rounds.mailbox import LOST, Mailbox

__all__ = ["PATIENCE_SECONDS", "POLL_SECONDS", "Question"]

_log = logging.getLogger(__name__)
POLL_SECONDS = 0.5
PATIENCE_SECONDS = 60.0  # after a reply was lost: Flower then lets a killed node in again within seconds
_TIMES = 2  # a node that is lost again and again is left out


class Question:
    """A question that nodes are asked, while it is open. More nodes may be asked as time goes by.

    Args:
        mail: sends the messages. It may hold messages of earlier questions.
        grid: tells which nodes are connected.
        clock: the time.
        patience: seconds to wait for a node whose reply was lost.

    Attributes:
        came_late: number of answers to earlier questions that came in the meantime and were dropped.
    """

    def __init__(self, mail: Mailbox, grid: Grid, clock: Clock, patience: float = PATIENCE_SECONDS) -> None:
        self._mail, self._grid, self._clock, self._patience = mail, grid, clock, patience
        self._asked: dict[int, Message] = {}
        self._sent: list[Message] = []  # a node that was asked twice may answer either message
        self._replies: dict[int, Message] = {}
        self._lost: dict[int, tuple[Message, float]] = {}  # the error, and when it was noticed
        self._times = Counter[int]()
        self.came_late = 0

    def __repr__(self) -> str:
        return f"Question({len(self._replies)} of {len(self._asked)} nodes have replied)"

    @property
    def asked(self) -> frozenset[int]:
        """Ids of the nodes that were asked."""
        return frozenset(self._asked)

    @property
    def replies(self) -> list[Message]:
        """Those of nodes that have answered or failed, by node. A reply that stays lost is an error of the node's."""
        found = self._replies | {node: error for node, (error, _) in self._lost.items()}
        return [found[node] for node in sorted(found)]

    @property
    def late(self) -> tuple[int, ...]:
        """Ids of the nodes that have neither answered nor failed."""
        return tuple(sorted(set(self._asked) - set(self._replies) - set(self._lost)))

    @property
    def lost(self) -> tuple[int, ...]:
        """Ids of the nodes whose replies were lost and that are no longer waited for."""
        return tuple(node for node, reply in self._replies.items() if reply.has_error() and reply.error.code in LOST)

    @property
    def answered(self) -> int:
        """Number of replies without an error."""
        return sum(not reply.has_error() for reply in self._replies.values())

    def ask(self, messages: Iterable[Message]) -> None:
        """Ask more nodes, or nodes that have failed once more."""
        for message in self._mail.send(messages):
            node = message.metadata.dst_node_id
            self._asked[node] = message
            self._sent.append(message)
            self._replies.pop(node, None)
            self._lost.pop(node, None)

    def wait(self, wanted: int, seconds: float) -> None:
        """Wait until so many nodes have answered without an error, nobody is left to answer, or the time is up."""
        began = self._clock.now()
        while True:
            now = self._clock.now()
            self._take(now)
            self._ask_the_lost_again(now)
            if is_closed(self.answered, len(self._asked) - len(self._replies), wanted, now - began, seconds):
                return
            self._clock.sleep(min(POLL_SECONDS, max(0.01, began + seconds - now)))

    def _take(self, now: float) -> None:
        for arrival in self._mail.collect():
            node = arrival.node
            known = self._replies.get(node)
            if not any(arrival.sent is each for each in self._sent) or (known is not None and not known.has_error()):
                self.came_late += not arrival.reply.has_error()
            elif arrival.reply.has_error() and arrival.sent is not self._asked[node]:
                continue  # it was asked again meanwhile
            elif arrival.is_lost and self._times[node] < _TIMES:
                self._lost[node] = (arrival.reply, now)
            else:
                self._replies[node] = arrival.reply

    def _ask_the_lost_again(self, now: float) -> None:
        """Ask those that are connected again, and leave out those that were waited for long enough."""
        if not self._lost:
            return
        connected = set(self._grid.get_node_ids())
        back = [node for node in self._lost if node in connected]
        if back:
            _log.warning("asking again %d of %d nodes whose replies were lost", len(back), len(self._lost))
        self._times.update(back)
        self.ask([self._asked[node] for node in back])
        for node, (error, since) in list(self._lost.items()):
            if now - since >= self._patience:
                self._replies[node] = error
                del self._lost[node]
