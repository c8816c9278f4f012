"""The evaluation round that the guards' lines are fitted to: sums of evidence and gain for each k."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from tegu.core.bundle.manifest import Knobs
from tegu.core.calibration.evaluation_request import CandidateSet, MetricSums

__all__ = ["Evaluate", "gain_lines"]

Evaluate: TypeAlias = Callable[[Sequence[CandidateSet]], Sequence[MetricSums]]
"""Runs one evaluation round, from sets of candidates to their sums."""


def gain_lines(evaluate: Evaluate, candidates: Sequence[Knobs], sizes: Sequence[int]) -> dict[int, MetricSums]:
    """The sums for the gain line of each candidate, by k. A k for which no user has enough rows is left out."""
    answers = evaluate([CandidateSet(k, candidates, "lines") for k in sizes])
    return {k: sums for k, sums in zip(sizes, answers, strict=True) if sums.users}
