"""When a round has enough replies: settings of how rounds end, synchronous or buffered."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from tegu.core.errors import DataError
from tegu.core.scalars import real_number, whole_number

__all__ = ["ReplyPlan"]

_OVERSAMPLING = 1.3  # Bonawitz et al. 2019, section 9: phones that drop out are rarely more than 6 to 10%
_QUORUM = 2 / 3  # of the nodes that a round wants


@dataclass(frozen=True)
class ReplyPlan:
    """When a round has enough replies, and what happens if it has too few.

    A round asks more nodes than it wants and closes when as many as it wants have answered, or when its time is up and
    the quorum has (Bonawitz et al. 2019, "Towards federated learning at scale", arXiv:1902.01046). Otherwise it asks
    other nodes. With a buffer, rounds are asynchronous; see `tegu.server.rounds.buffered`.

    Attributes:
        quorum: fewest nodes whose answers count as a round. None means two thirds of the nodes that a round wants,
            rounded up.
        deadline: seconds that a round waits for its nodes' answers.
        oversampling: how many nodes are asked, as a multiple of those that the round wants. None means 1.3 in a
            federation. In a simulation it is 1, since all nodes answer.
        attempts: how often a round asks before the run stops for want of a quorum.
        buffer: answers to a step of an asynchronous run; 0 for rounds, in which all nodes train the same parameters.
        most_stale: steps after which an answer of an asynchronous run no longer counts.

    Raises:
        DataError: a number out of range.
    """

    quorum: int | None = None
    deadline: float = 600.0
    oversampling: float | None = None
    attempts: int = 3
    buffer: int = 0
    most_stale: int = 20

    def __post_init__(self) -> None:
        if self.quorum is not None:
            object.__setattr__(self, "quorum", whole_number("quorum", self.quorum, 1))
        object.__setattr__(self, "deadline", real_number("deadline", self.deadline))
        if not self.deadline > 0:
            raise DataError(f"deadline is {self.deadline}: expected seconds above 0")
        if self.oversampling is not None:
            object.__setattr__(self, "oversampling", real_number("oversampling", self.oversampling, 1))
            if math.isinf(float(self.oversampling)):
                raise DataError("oversampling is infinite: expected a factor such as 1.3, and 1 for none")
        object.__setattr__(self, "attempts", whole_number("attempts", self.attempts, 1))
        object.__setattr__(self, "buffer", whole_number("buffer", self.buffer, 0))
        object.__setattr__(self, "most_stale", whole_number("most_stale", self.most_stale, 0))

    def in_federation(self) -> ReplyPlan:
        """The plan with the automatic over-sampling of a federation."""
        return replace(self, oversampling=_OVERSAMPLING) if self.oversampling is None else self

    def in_simulation(self) -> ReplyPlan:
        """The plan without over-sampling."""
        return replace(self, oversampling=1.0)

    def quorum_of(self, wanted: int) -> int:
        """The fewest answers that count as a round which wants so many."""
        return math.ceil(_QUORUM * wanted) if self.quorum is None else self.quorum
