"""What an evaluation round asks, and the answers: sums over users, so that nobody's own figures leave a device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from tegu.core.bundle.manifest import Knobs
from tegu.core.data.batch import Array
from tegu.core.sampling.trials import DRAWS

__all__ = ["COLUMNS", "CandidateSet", "EvaluationRequest", "Measure", "MetricSums", "UserGroup", "add_sums", "no_users"]

Measure: TypeAlias = Literal["scores", "lines", "gains"]
UserGroup: TypeAlias = Literal["calibration", "comparison"]
COLUMNS: Mapping[Measure, int] = {"scores": 2, "lines": 5, "gains": 3}


class CandidateSet(NamedTuple):
    """Ways to adapt on k interactions, to be tried.

    Attributes:
        k: rows of each support.
        options: knobs of each way.
        measure: what is summed over users. "scores": the metric and its square. "gains": the gain over not adapting,
            its square, and the chance that it is a hurt (`criterion.harm_probability`). "lines", over trials: the
            evidence, the gain in squared error a row, evidence squared, evidence times gain, gain squared.
        who: those who calibrate, or as many of those who train, for comparison.
        draws: trials of each user.
    """

    k: int
    options: Sequence[Knobs]
    measure: Measure
    who: UserGroup = "calibration"
    draws: int = DRAWS


class EvaluationRequest(NamedTuple):
    """All that an evaluation round asks.

    Attributes:
        metric: its name.
        seed: of the run; it decides who calibrates, and the trials.
        share: of all users who calibrate.
        still: knobs by which nobody adapts.
        questions: answered one by one.
        fold: which share, see `tegu.core.calibration.assignment`.
    """

    metric: str
    seed: int
    share: float
    still: Knobs
    questions: Sequence[CandidateSet]
    fold: int = 0


class MetricSums(NamedTuple):
    """To one question.

    Attributes:
        users: how many have the rows for it.
        sums: float64 `[options, columns]`, see `CandidateSet.measure`; NaN where a figure of someone is not finite.
    """

    users: int
    sums: Array


def no_users(question: CandidateSet) -> MetricSums:
    """The answer of whom it does not concern."""
    return MetricSums(0, np.zeros((len(question.options), COLUMNS[question.measure])))


def add_sums(answers: Iterable[Sequence[MetricSums]]) -> list[MetricSums]:
    """The answers of all together, question by question; there is at least one who answers."""
    return [
        MetricSums(sum(each.users for each in given), np.sum([each.sums for each in given], axis=0))
        for given in zip(*answers, strict=True)
    ]
