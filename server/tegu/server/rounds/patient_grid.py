"""A grid that asks again the nodes whose replies were lost, and that stops waiting when the time is up."""

from __future__ import annotations

import math
from collections.abc import Iterable

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run

from tegu.server.rounds.clock import SYSTEM_CLOCK, Clock
from tegu.server.rounds.gather import PATIENCE_SECONDS, Question
from tegu.server.rounds.mailbox import Mailbox
from tegu.server.versioned import Versioned
from tegu.wire import Version

__all__ = ["PatientGrid"]


class PatientGrid(Grid):
    """A grid around another one, whose nodes are real: they may be slow, go away and come back.

    Args:
        grid: the connected nodes.
        deadline: seconds after which `send_and_receive` returns what there is.
        clock: the time.
        patience: seconds to wait for a node whose reply was lost.
    """

    def __init__(
        self,
        grid: Grid,
        deadline: float = math.inf,
        clock: Clock = SYSTEM_CLOCK,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._grid, self._deadline, self._clock, self._patience = grid, deadline, clock, patience
        self._mail = Mailbox(grid)

    def __repr__(self) -> str:
        return f"PatientGrid({self._grid!r})"

    @property
    def clock(self) -> Clock:
        """The time, as this grid tells it."""
        return self._clock

    def with_deadline(self, deadline: float) -> PatientGrid:
        """The same nodes, with another deadline."""
        return PatientGrid(self._grid, deadline, self._clock, self._patience)

    def for_version(self, version: Version) -> PatientGrid:
        """The same nodes, in rounds that say which bundle they are for."""
        return PatientGrid(Versioned(self._grid, version), self._deadline, self._clock, self._patience)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """The replies that come in time. A reply that stays lost is an error of the node that was asked."""
        batch = list(messages)
        question = Question(self._mail, self._grid, self._clock, self._patience)
        question.ask(batch)
        question.wait(len(batch), self._deadline if timeout is None else min(timeout, self._deadline))
        return question.replies

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
