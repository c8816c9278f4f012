"""Validation during training: users who do not train evaluate the parameters, and the best round may be kept.

A validation is an evaluation round at one k with the learner's own knobs. The calibration users' figure shows how good
the parameters are. The figure of an equally large group of training users shows how much better those are served.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from tegu.core.bundle.manifest import Manifest
from tegu.core.calibration.evaluation_request import CandidateSet, EvaluationRequest, MetricSums
from tegu.core.data.tree import Tree
from tegu.core.errors import DataError
from tegu.server.evaluation.decline import Decline, ValidationPoint, decline_from

__all__ = [
    "Best",
    "Validation",
    "ValidationHistory",
    "ValidationRule",
    "Validations",
    "decline_of",
    "mean_validation",
    "mean_validations",
    "validation_candidates",
    "validation_from_sums",
]


class Validation(NamedTuple):
    """Means of the metric over users after a round.

    Attributes:
        round: from 1.
        initialisation: calibration users, without adapting.
        personalised: calibration users, adapted.
        training: training users, adapted; NaN if none took part.
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


class Best(NamedTuple):
    """The parameters after the best validation so far, and their round."""

    round: int
    meta: Tree

    def __repr__(self) -> str:
        return f"Best(round={self.round}, meta of {len(self.meta)} arrays)"


class ValidationHistory(NamedTuple):
    """The validations of earlier rounds, for a run that is resumed.

    Attributes:
        validations: in order of rounds.
        best: parameters of the best round; None without patience.
    """

    validations: tuple[Validation, ...] = ()
    best: Best | None = None


@dataclass(frozen=True)
class ValidationRule:
    """When to validate, and when to stop.

    Attributes:
        every: rounds between validations; 0 for no validation. The first and the last round are validated as well.
        patience: stop after this many validations without improvement, once the figure has clearly declined from its
            best (`tegu.server.evaluation.decline`). The best round's parameters are kept after a clear decline, and
            the last round's otherwise. 0 runs every round and keeps the last round's parameters.
        higher_is_better: direction of the metric.

    Raises:
        DataError: a negative number, or patience without validations.
    """

    every: int
    patience: int = 0
    higher_is_better: bool = True

    def __post_init__(self) -> None:
        if self.every < 0 or self.patience < 0 or (self.patience and not self.every):
            raise DataError(
                f"validations are {self.every} rounds apart and patience is {self.patience}: expected numbers of at "
                "least 0; patience above 0 needs at least 1 round between validations"
            )

    def includes(self, number: int, rounds: int) -> bool:
        """Whether round `number` of a run of `rounds` rounds is validated."""
        return bool(self.every) and (number in (1, rounds) or number % self.every == 0)


class Validations:
    """All validations of a run.

    Args:
        rule: when to validate, and when to stop.
        request: the evaluation request of each validation, with the candidates of `validation_candidates`.
        rounds: of the whole run.
        history: of the earlier rounds of a resumed run.

    Attributes:
        found: the validations so far, in order of rounds.
        seconds: total time spent on validation.
    """

    def __init__(
        self, rule: ValidationRule, request: EvaluationRequest, rounds: int, history: ValidationHistory | None = None
    ) -> None:
        self.rule, self.request = rule, request
        # With patience a history without the best round's parameters is of no use.
        if history is None or (rule.patience and history.best is None):
            history = ValidationHistory()
        self.found: list[Validation] = list(history.validations)
        self.seconds = 0.0
        self._best = history.best if rule.patience else None
        self._rounds, self._started = rounds, 0.0

    def __repr__(self) -> str:
        return f"Validations({len(self.found)} of {self._rounds} rounds, {self.rule})"

    @property
    def history(self) -> ValidationHistory:
        """The validations so far, as a checkpoint stores them."""
        return ValidationHistory(tuple(self.found), self._best)

    @property
    def decline(self) -> Decline | None:
        """The decline from the best validation to the last; None before the first validation."""
        return decline_of(self.found, self.rule.higher_is_better)

    @property
    def stopped(self) -> bool:
        """Whether patience has run out."""
        decline, patience = self.decline, self.rule.patience
        return decline is not None and 0 < patience <= decline.points and decline.clear

    @property
    def kept(self) -> Best | None:
        """The best round's parameters if the figure has clearly declined since; None to keep the last round's.

        The highest of many noisy figures is partly luck, so a difference within noise is no reason to undo training.
        Later rounds also have the smaller steps of a decaying learning rate.
        """
        decline = self.decline
        return self._best if decline is not None and decline.clear else None

    def is_due(self, number: int) -> bool:
        """Whether to validate after this round."""
        return self.rule.includes(number, self._rounds)

    def start_timer(self) -> None:
        """Note that a validation starts. `record` adds its duration to `seconds`."""
        self._started = time.perf_counter()

    def record(self, number: int, answers: Sequence[MetricSums], meta: Tree) -> Validation | None:
        """Add the validation of a round.

        Args:
            number: of the round.
            answers: results for `validation_candidates`, summed over nodes.
            meta: parameters after the round, kept if they are the best so far and there is patience.

        Returns:
            The validation; None if no calibration user took part.
        """
        self.seconds += time.perf_counter() - self._started
        validation = validation_from_sums(number, answers, self.rule.higher_is_better)
        if validation is not None:
            self.found.append(validation)
            if self.rule.patience and self.decline is not None and self.decline.since == number:
                self._best = Best(number, meta)
        return validation


def decline_of(validations: Sequence[Validation], higher_is_better: bool) -> Decline | None:
    """How far the calibration users' figure is below its best at the last validation; None without validations."""
    points = [ValidationPoint(one.round, one.personalised, one.personalised_error) for one in validations]
    return decline_from(points, higher_is_better)


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


def validation_from_sums(number: int, answers: Sequence[MetricSums], higher_is_better: bool) -> Validation | None:
    """The validation of a round from the results for `validation_candidates`; None without calibration users."""
    calibration, comparison = answers
    if not calibration.users:
        return None
    (unadapted, _), (personalised, variance) = (_mean_and_variance(calibration, option) for option in (0, 1))
    if not comparison.users:
        return Validation(number, unadapted, personalised, personalised_error=math.sqrt(variance))
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
    """The mean over several trainings after each round that all of them validated."""
    if not runs:
        return ()
    by_round = [{one.round: one for one in run} for run in runs]
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
