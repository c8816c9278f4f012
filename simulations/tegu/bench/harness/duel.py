"""Two sides in turn, A B A B, each in a process that stays: both are warm, and neither has the other's memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tegu.bench.harness.worker_handle import Repetition, Side

__all__ = ["Duel", "fight"]


@dataclass
class Duel:
    """What a duel gave, pair by pair.

    Attributes:
        ours: Tegu's repetitions' seconds and MiB.
        theirs: the peer's.
        worst: the largest difference that was found between what they gave.
    """

    ours: list[Repetition] = field(default_factory=list)
    theirs: list[Repetition] = field(default_factory=list)
    worst: float = 0.0


def fight(ours: Side, theirs: Side, pairs: int, compare: Callable[[Repetition, Repetition], float]) -> Duel:
    """Run pairs of repetitions after one of each that does not count.

    Args:
        ours: Tegu.
        theirs: the peer.
        pairs: how many.
        compare: gives the difference between what the two sides of a pair gave, or raises.

    Raises:
        RuntimeFailure: a worker has ended, or the two did not do the same work.
    """
    duel = Duel()
    for pair in range(pairs + 1):
        a, b = ours.repeat(), theirs.repeat()
        duel.worst = max(duel.worst, compare(a, b))
        if pair:
            duel.ours.append(a._replace(trees=[]))
            duel.theirs.append(b._replace(trees=[]))
    return duel
