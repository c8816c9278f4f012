"""Who is told how a run goes."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from tegu.core.data.tree import Tree
from tegu.server.evaluation.validation import Validation

__all__ = ["SILENT", "Progress", "RoundProgress", "Silent"]


class RoundProgress(NamedTuple):
    """Where a training is after a round.

    Attributes:
        round: rounds done.
        rounds: of the whole run.
        users: users whose updates were in this round.
        user_rounds: the sum of `users` since the training began or was resumed.
        seconds: since then.
        meta: parameters now.
        look: the latest validation; None where there was none.
    """

    round: int
    rounds: int
    users: int
    user_rounds: int
    seconds: float
    meta: Tree
    look: Validation | None = None


class Progress(Protocol):
    """Told of everything that takes long. An exception that it raises ends the run."""

    def stage(self, text: str) -> None:
        """Something else begins, such as training or a baseline."""

    def round(self, progress: RoundProgress) -> None:
        """A round is over, and its validation where there is one."""


class Silent:
    """Tells nobody."""

    def stage(self, text: str) -> None:
        """Nothing."""

    def round(self, progress: RoundProgress) -> None:
        """Nothing."""


SILENT = Silent()
