"""Validation during training: users who do not train evaluate the parameters.

A validation is an evaluation round at one k with the learner's own knobs. The calibration users' figure shows how good
the parameters are. The figure of an equally large group of training users shows how much better those are served.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from tegu.core.bundle.manifest import Manifest
from tegu.core.calibration.evaluation_request import CandidateSet, MetricSums

__all__ = [
    "Validation",
    "mean_validation",
    "mean_validations",
    "validation_candidates",
    "validation_from_sums",
    "without_comparison",
]


class Validation(NamedTuple):
    """Means of the metric over users after a round.

    Attributes:
        round: from 1.
        initialisation: calibration users, without adapting.
        personalised: calibration users, adapted.
        training: training users, adapted; NaN if none took part or none were asked.
        gap: how much better `training` is than `personalised`; positive means better, for every metric.
        error: standard error of `gap`.
        personalised_error: standard error of `personalised` over users.
    """

    round: int
    initialisation: float
    personalised: float
    training: float = math.nan
    gap: float = math.nan
    error: float = math.nan
    personalised_error: float = math.nan

    def as_json(self) -> dict[str, float | None]:
        """The figures by name. Figures that are not finite become None, because JSON has no NaN and no infinity."""
        return {name: value if math.isfinite(value) else None for name, value in self._asdict().items()}


def validation_candidates(k: int, manifest: Manifest, draws: int = 1) -> list[CandidateSet]:
    """The candidates of a validation: not adapting and the learner's own knobs, scored by the metric.

    Args:
        k: rows of each support.
        manifest: of the learner.
        draws: trials per user. One is cheap enough to repeat often during a run.

    Returns:
        Two sets: one for calibration users, with both candidates, and one for the comparison group, adapted only.
    """
    both = [manifest.unadapted, manifest.knobs]
    return [
        CandidateSet(k, both, "scores", "calibration", draws),
        CandidateSet(k, both[1:], "scores", "comparison", draws),
    ]


def without_comparison(questions: Sequence[CandidateSet]) -> list[CandidateSet]:
    """The candidate sets of a validation without those of the comparison group."""
    return [question for question in questions if question.who != "comparison"]


def validation_from_sums(number: int, answers: Sequence[MetricSums], higher_is_better: bool) -> Validation | None:
    """The validation of a round from the results for `validation_candidates`; None without calibration users.

    Args:
        number: of the round.
        answers: the calibration users' result, and that of the comparison group if it was asked.
        higher_is_better: direction of the metric.
    """
    calibration, *others = answers
    if not calibration.users:
        return None
    (unadapted, _), (personalised, variance) = (_mean_and_variance(calibration, option) for option in (0, 1))
    if not others or not others[0].users:
        return Validation(number, unadapted, personalised, personalised_error=math.sqrt(variance))
    comparison = others[0]
    training, training_variance = _mean_and_variance(comparison, 0)
    gap = training - personalised if higher_is_better else personalised - training
    error = math.sqrt(variance + training_variance)
    return Validation(number, unadapted, personalised, training, gap, error, math.sqrt(variance))


def mean_validation(validations: Sequence[Validation]) -> Validation | None:
    """The mean of validations of separate trainings, each by different users; None of an empty sequence."""
    if not validations:
        return None
    return Validation(
        round=max(one.round for one in validations),
        initialisation=fmean(one.initialisation for one in validations),
        personalised=fmean(one.personalised for one in validations),
        training=fmean(one.training for one in validations),
        gap=fmean(one.gap for one in validations),
        error=_error_of_mean([one.error for one in validations]),
        personalised_error=_error_of_mean([one.personalised_error for one in validations]),
    )


def mean_validations(runs: Sequence[Sequence[Validation]]) -> tuple[Validation, ...]:
    """The mean over the trainings that were validated, after each round that all of these validated."""
    by_round = [{one.round: one for one in run} for run in runs if run]
    if not by_round:
        return ()
    common = sorted(set.intersection(*(set(run) for run in by_round)))
    means = (mean_validation([run[number] for run in by_round]) for number in common)
    return tuple(mean for mean in means if mean is not None)


def _error_of_mean(errors: Sequence[float]) -> float:
    return math.sqrt(sum(error**2 for error in errors)) / len(errors)


def _mean_and_variance(answer: MetricSums, option: int) -> tuple[float, float]:
    """The mean over users, and the variance of that mean; infinite for a single user."""
    total, squares = (float(column) for column in answer.sums[option])
    users, mean = answer.users, total / answer.users
    if users == 1:
        return mean, math.inf
    return mean, max(squares / users - mean * mean, 0.0) / (users - 1)
