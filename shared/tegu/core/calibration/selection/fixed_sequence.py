"""The testing users' half: how far along a path the share of materially hurt users is shown to be within a limit.

Learn-then-Test with fixed-sequence testing: Angelopoulos, Bates, Candes, Jordan and Lei 2021, "Learn then Test",
arXiv:2110.01052. The path and the limit are fixed before the testing users are seen. Candidates are tested one after
the other, each with the full error rate, until one fails. With the given confidence every candidate that passed keeps
the limit, so any of them may be chosen for any reason.

Each test is Clopper and Pearson's. With cross-fitting a user is judged by the parameters of its fold, so the users of
different folds have different chances of being hurt. The test is then valid for the mean of these chances (Hoeffding
1956, "On the distribution of the number of successes in independent trials").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tegu.core.calibration.selection.binomial import at_most_probability, upper_bound

__all__ = ["SequenceTest", "run_sequence_test"]


_ROUNDING = 1e-9  # relative: a limit that is itself such a bound is met


class SequenceTest(NamedTuple):
    """Which candidates of a path keep a limit, with confidence.

    Attributes:
        passed: number of candidates at the start of the path that keep the limit.
        limit: the share of users that was tested.
        first: upper bound of the first candidate alone.
        last: upper bound of the last candidate alone. It is shown if all have passed.
    """

    passed: int
    limit: float
    first: float
    last: float

    def bound(self, place: int, length: int) -> float:
        """What was shown about the candidate at a place of the path: one that passed, or the first.

        Args:
            place: index along the path.
            length: of the path.
        """
        if self.passed == length and place == length - 1:
            return min(self.last, self.limit)
        return self.limit if place < self.passed else self.first


def run_sequence_test(hurt: Sequence[int], people: int, limit: float, confidence: float) -> SequenceTest:
    """Test the candidates of a path until one fails.

    Args:
        hurt: number of testing users that each candidate of the path materially hurts; at least one candidate.
        people: number of testing users.
        limit: share of users to be shown; fixed before the testing users are seen.
        confidence: of what is shown.
    """
    failures = (place for place, count in enumerate(hurt) if not _is_shown(count, people, limit, confidence))
    passed = next(failures, len(hurt))
    first, last = (upper_bound(count, people, confidence) for count in (hurt[0], hurt[-1]))
    return SequenceTest(passed, limit, first, last)


def _is_shown(count: int, people: int, limit: float, confidence: float) -> bool:
    """Whether the p-value of "more than `limit` of all users are hurt" is small enough."""
    return limit >= 1 or at_most_probability(count, people, limit) <= (1 - confidence) * (1 + _ROUNDING)
