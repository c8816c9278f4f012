"""Notification of the progress of a run."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from tegu.core.data.tree import Tree
from tegu.server.evaluation.validation import Validation

__all__ = ["SILENT", "Progress", "RoundProgress", "Silent"]


class RoundProgress(NamedTuple):
    """The state of a training after a round.

    Attributes:
        round: number of rounds run.
        rounds: number of rounds of the whole run.
        users: number of users whose updates were in this round.
        user_rounds: sum of `users` since the training started or was resumed.
        seconds: time since the training started or was resumed.
        meta: parameters after the round.
        validation: the latest validation; None before the first.
        epsilon: what the rounds so far have spent of privacy; None without noise on the mean.
    """

    round: int
    rounds: int
    users: int
    user_rounds: int
    seconds: float
    meta: Tree
    validation: Validation | None = None
    epsilon: float | None = None

    def __repr__(self) -> str:
        return f"RoundProgress(round {self.round} of {self.rounds}, {self.users} users, {self.seconds:.1f} s)"


class Progress(Protocol):
    """Receives notifications during a run. An exception that it raises ends the run."""

    def stage(self, text: str) -> None:
        """A new stage begins, such as training or a baseline."""

    def round(self, progress: RoundProgress) -> None:
        """A round has ended, including its validation if there was one."""


class Silent:
    """Progress that ignores every notification."""

    def stage(self, text: str) -> None:
        """Do nothing."""

    def round(self, progress: RoundProgress) -> None:
        """Do nothing."""


SILENT = Silent()
