"""A grid that asks again the nodes whose replies were lost, and that stops waiting when the time is up."""

from __future__ import annotations

import math
from collections.abc import Iterable

from flwr.app import Message
from flwr.serverapp import Grid

from tegu.server.rounds.clock import SYSTEM_CLOCK, Clock
from tegu.server.rounds.forwarding_grid import ForwardingGrid
from tegu.server.rounds.gather import PATIENCE_SECONDS, Question
from tegu.server.rounds.mailbox import Mailbox
from tegu.server.versioned import Versioned
from tegu.wire import Version

__all__ = ["PatientGrid"]


class PatientGrid(ForwardingGrid):
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
        super().__init__(grid)
        self._deadline, self._clock, self._patience = deadline, clock, patience
        self._mail = Mailbox(grid)

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
