"""Runs of two workers that alternate: A B A B.

Each worker is a process that stays alive: both are warm, and neither shares the other's memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tegu.bench.harness.worker_handle import Repetition, Worker

__all__ = ["PairedRuns", "run_pairs"]


@dataclass
class PairedRuns:
    """The timed repetitions of two workers, pair by pair.

    Attributes:
        ours: Tegu's repetitions, without their trees.
        theirs: the peer's repetitions, without their trees.
        largest_difference: the largest difference between the results of a pair.
    """

    ours: list[Repetition] = field(default_factory=list)
    theirs: list[Repetition] = field(default_factory=list)
    largest_difference: float = 0.0


def run_pairs(
    ours: Worker, theirs: Worker, pairs: int, difference: Callable[[Repetition, Repetition], float]
) -> PairedRuns:
    """Run one untimed pair of repetitions to warm up, then `pairs` timed ones.

    Args:
        ours: Tegu's worker.
        theirs: the peer's worker.
        pairs: number of timed pairs.
        difference: gives the difference between the results of a pair, or raises if it is too large.

    Raises:
        RuntimeFailure: a worker has ended, or the two did not do the same work.
    """
    runs = PairedRuns()
    for pair in range(pairs + 1):
        a, b = ours.repeat(), theirs.repeat()
        runs.largest_difference = max(runs.largest_difference, difference(a, b))
        if pair:
            runs.ours.append(a._replace(trees=[]))
            runs.theirs.append(b._replace(trees=[]))
    return runs
