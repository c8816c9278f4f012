"""When a round closes: it has the answers that it wants, nobody is left to answer, or its time is up."""

from __future__ import annotations

from tegu.core.errors import FederationError
from tegu.server.rounds.found import Found

__all__ = ["check_quorum", "is_closed", "too_few_text"]


def is_closed(answered: int, outstanding: int, wanted: int, seconds: float, deadline: float) -> bool:
    """Whether to stop waiting.

    Args:
        answered: nodes that have answered without an error.
        outstanding: nodes that may still answer.
        wanted: answers that are enough.
        seconds: since the round began.
        deadline: seconds after which it closes.
    """
    return answered >= wanted or not outstanding or seconds >= deadline


def check_quorum(number: int, found: Found, quorum: int, attempts: int) -> None:
    """Check that a round has found its quorum.

    Args:
        number: of the round.
        found: what it has brought.
        quorum: that it needs.
        attempts: how often it has asked.

    Raises:
        FederationError: it has not; the message says what became of the others.
    """
    if len(found.usable) < quorum:
        why = "; ".join(map(str, found.refused))
        raise FederationError(too_few_text(number, len(found.usable), quorum, attempts, why))


def too_few_text(number: int, answered: int, quorum: int, attempts: int, why: str) -> str:
    """What to tell when a round has not found its quorum.

    Args:
        number: of the round.
        answered: nodes whose answers could count.
        quorum: that the round needs.
        attempts: how often it has asked.
        why: what became of the others; empty if nobody knows.
    """
    if not answered:
        return f"round {number} has no usable reply: {why or 'no node replied in time'}"
    tried = "1 attempt" if attempts == 1 else f"{attempts} attempts"
    return (
        f"round {number} has usable replies of {answered} nodes after {tried} and its quorum is {quorum}: "
        f"{why or 'the others did not reply in time'}. Connect more nodes, allow more time (deadline), or lower the "
        "quorum"
    )
