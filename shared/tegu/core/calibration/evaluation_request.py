"""What an evaluation round sends and receives. Replies are sums over users: no single user's metrics leave a device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from tegu.core.bundle.manifest import Knobs
from tegu.core.calibration.assignment import is_calibration_user, is_comparison_user, is_proposing_user
from tegu.core.calibration.harm import MATERIAL
from tegu.core.calibration.selection import figures
from tegu.core.data.batch import Array
from tegu.core.sampling.trials import DRAWS

__all__ = [
    "COLUMNS",
    "CandidateSet",
    "EvaluationRequest",
    "Measure",
    "MetricSums",
    "UserGroup",
    "add_sums",
    "in_half",
    "no_users",
    "takes_part",
]

Measure: TypeAlias = Literal["scores", "lines", "gains", "strict"]
UserGroup: TypeAlias = Literal["calibration", "proposing", "testing", "comparison"]
COLUMNS: Mapping[Measure, int] = {"scores": 2, "lines": 5, "gains": figures.COLUMNS, "strict": 3}


class CandidateSet(NamedTuple):
    """Candidate knobs to evaluate with k interactions.

    Attributes:
        k: rows of each support.
        options: knobs of each candidate.
        measure: what is summed. "scores", over users: the metric and its square. "gains", over users: what
            `tegu.core.calibration.selection.figures.figure_sums` gives. "strict", over users: the gain over not
            adapting, its square, and the probability of harm (`selection.strict.harm_probability`). "lines", over
            trials: evidence, gain in squared error per row, squared evidence, evidence times gain, squared gain.
        who: the calibration users; one of their halves, which propose candidates and test them; or the comparison
            group: as many users who train. See `tegu.core.calibration.assignment`.
        draws: trials per user.
        material: for "gains", the share of a user's own figure whose loss is material.
    """

    k: int
    options: Sequence[Knobs]
    measure: Measure
    who: UserGroup = "calibration"
    draws: int = DRAWS
    material: float = MATERIAL


class EvaluationRequest(NamedTuple):
    """What an evaluation round sends.

    Attributes:
        metric: name of the metric.
        seed: of the run; determines who calibrates, and the trials.
        share: of all users who calibrate in one fold.
        questions: sets of candidates, evaluated one after the other.
        fold: from 0, see `tegu.core.calibration.assignment`.
    """

    metric: str
    seed: int
    share: float
    questions: Sequence[CandidateSet]
    fold: int = 0


class MetricSums(NamedTuple):
    """The result for one set of candidates.

    Attributes:
        users: number of users with enough rows.
        sums: float64 `[candidates, columns]`, see `CandidateSet.measure`; NaN where some user's value is not finite.
    """

    users: int
    sums: Array


def takes_part(request: EvaluationRequest, who: UserGroup, user: str) -> bool:
    """Whether a user belongs to a group of an evaluation round.

    Args:
        request: seed, share and fold.
        who: the group.
        user: name.
    """
    drawn = request.seed, user, request.share, request.fold
    if who == "comparison":
        return is_comparison_user(*drawn)
    return is_calibration_user(*drawn) and in_half(request.seed, who, user)


def in_half(seed: int, who: UserGroup, user: str) -> bool:
    """Whether a calibration user belongs to a group: all of them, or one of their halves."""
    return who == "calibration" or (who == "proposing") == is_proposing_user(seed, user)


def no_users(question: CandidateSet) -> MetricSums:
    """The result of a device without users for these candidates."""
    return MetricSums(0, np.zeros((len(question.options), COLUMNS[question.measure])))


def add_sums(answers: Iterable[Sequence[MetricSums]]) -> list[MetricSums]:
    """The results of all devices added up, one for each set of candidates.

    Args:
        answers: the results of each device, at least one device.
    """
    return [
        MetricSums(sum(each.users for each in given), np.sum([each.sums for each in given], axis=0))
        for given in zip(*answers, strict=True)
    ]
