"""Looks at a run while it goes on: users who never train judge the parameters, and the best round may be kept.

A look is an evaluation round at one k, by the learner's own knobs: those who calibrate tell how good the parameters
are, and as many of those who train tell whether they are better off.
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
    """Means of the metric after so many rounds.

    Attributes:
        round: from 1.
        initialisation: of those who never train, without adapting.
        personalised: of the same, adapted.
        training: of those who train, adapted; NaN where nobody was asked.
        gap: how much better off those who train are, whichever way of the metric is better.
        error: its standard error.
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
        """By name; what is not finite, which JSON does not have, is None."""
        return {name: value if math.isfinite(value) else None for name, value in self._asdict().items()}


class Best(NamedTuple):
    """Parameters of the best validation point so far."""

    round: int
    meta: Tree


class ValidationHistory(NamedTuple):
    """What a resumed run must know of the validations before.

    Attributes:
        looks: in order of rounds.
        best: None without patience.
    """

    looks: tuple[Validation, ...] = ()
    best: Best | None = None


@dataclass(frozen=True)
class ValidationRule:
    """When to look, and when to stop.

    Attributes:
        every: rounds from one look to the next; there is one after the first and the last round too. 0 for none.
        patience: the run ends once this many validation points in turn are no better than the best and the figure has
            clearly declined from it (`decline`). After a clear decline the best point's parameters are
            kept, otherwise the last round's. With 0, all rounds are run and the last one's are kept.
        higher_is_better: which way of the metric is better.
    """

    every: int
    patience: int = 0
    higher_is_better: bool = True

    def __post_init__(self) -> None:
        if self.every < 0 or self.patience < 0 or (self.patience and not self.every):
            raise DataError(
                f"looks are {self.every} rounds apart, with patience for {self.patience}: expected no less than 0, "
                "and a number of rounds where there is patience"
            )

    def counts(self, number: int, rounds: int) -> bool:
        """Whether there is a look after this round of so many."""
        return bool(self.every) and (number in (1, rounds) or number % self.every == 0)


class Validations:
    """All looks of a run.

    Args:
        rule: when.
        inquiry: what is asked, with the questions of `validation_candidates`.
        rounds: of the whole run.
        history: of the rounds before, where a run is resumed.
    """

    def __init__(
        self, rule: ValidationRule, inquiry: EvaluationRequest, rounds: int, history: ValidationHistory | None = None
    ) -> None:
        self.rule, self.inquiry = rule, inquiry
        if history is None or (rule.patience and history.best is None):  # the best look's parameters are not there
            history = ValidationHistory()
        self.found: list[Validation] = list(history.looks)
        self.seconds = 0.0
        self._best = history.best if rule.patience else None
        self._rounds, self._began = rounds, 0.0

    @property
    def history(self) -> ValidationHistory:
        """What a checkpoint holds of the looks."""
        return ValidationHistory(tuple(self.found), self._best)

    @property
    def decline(self) -> Decline | None:
        """From the best look to the last; None before the first."""
        return decline_of(self.found, self.rule.higher_is_better)

    @property
    def stopped(self) -> bool:
        """Whether patience has run out."""
        decline, patience = self.decline, self.rule.patience
        return decline is not None and 0 < patience <= decline.points and decline.clear

    @property
    def kept(self) -> Best | None:
        """The best look's parameters where the figure has clearly declined from them; None to keep the last round's.

        The highest of many noisy figures is partly luck, so that a difference within noise is no reason to undo
        training. Later rounds also have the smaller steps of a decaying learning rate.
        """
        decline = self.decline
        return self._best if decline is not None and decline.clear else None

    def due(self, number: int) -> bool:
        """Whether to look after this round."""
        return self.rule.counts(number, self._rounds)

    def begin(self) -> None:
        """Note that a look begins: its time is no training time."""
        self._began = time.perf_counter()

    def take(self, number: int, answers: Sequence[MetricSums], meta: Tree) -> Validation | None:
        """What the answers tell of the parameters after a round; None where nobody has answered."""
        self.seconds += time.perf_counter() - self._began
        look = validation_from_sums(number, answers, self.rule.higher_is_better)
        if look is not None:
            self.found.append(look)
            if self.rule.patience and self.decline is not None and self.decline.since == number:
                self._best = Best(number, meta)
        return look


def decline_of(looks: Sequence[Validation], higher_is_better: bool) -> Decline | None:
    """How far calibration users' figure is below its best at the last look; None without looks."""
    points = [ValidationPoint(look.round, look.personalised, look.personalised_error) for look in looks]
    return decline_from(points, higher_is_better)


def validation_candidates(k: int, manifest: Manifest, draws: int = 1) -> list[CandidateSet]:
    """What a look asks: the metric at k, by the learner's own knobs.

    Args:
        k: rows of each support.
        manifest: of the learner, whose own knobs are tried, and those by which nobody adapts.
        draws: trials of each user; one costs little, many times in a run.
    """
    both = [manifest.unadapted, manifest.knobs]
    return [
        CandidateSet(k, both, "scores", "calibration", draws),
        CandidateSet(k, both[1:], "scores", "comparison", draws),
    ]


def validation_from_sums(number: int, answers: Sequence[MetricSums], higher_is_better: bool) -> Validation | None:
    """What the answers to `validation_candidates` tell of the parameters after a round; None where nobody has answered."""
    calibration, comparison = answers
    if not calibration.users:
        return None
    (still, _), (personalised, variance) = (_mean(calibration, option) for option in (0, 1))
    if not comparison.users:
        return Validation(number, still, personalised, personalised_error=math.sqrt(variance))
    training, other = _mean(comparison, 0)
    gap = training - personalised if higher_is_better else personalised - training
    return Validation(number, still, personalised, training, gap, math.sqrt(variance + other), math.sqrt(variance))


def mean_validation(looks: Sequence[Validation]) -> Validation | None:
    """The mean of looks at as many trainings, each by other people; None of none."""
    if not looks:
        return None
    return Validation(
        round=max(look.round for look in looks),
        initialisation=fmean(look.initialisation for look in looks),
        personalised=fmean(look.personalised for look in looks),
        training=fmean(look.training for look in looks),
        gap=fmean(look.gap for look in looks),
        error=_error_of_mean([look.error for look in looks]),
        personalised_error=_error_of_mean([look.personalised_error for look in looks]),
    )


def mean_validations(runs: Sequence[Sequence[Validation]]) -> tuple[Validation, ...]:
    """The means of several trainings' looks, after each round that all were looked at."""
    if not runs:
        return ()
    by_round = [{look.round: look for look in looks} for looks in runs]
    common = sorted(set.intersection(*(set(looks) for looks in by_round)))
    found = (mean_validation([looks[number] for looks in by_round]) for number in common)
    return tuple(look for look in found if look is not None)


def _error_of_mean(errors: Sequence[float]) -> float:
    return math.sqrt(sum(error**2 for error in errors)) / len(errors)


def _mean(answer: MetricSums, option: int) -> tuple[float, float]:
    """The mean over users, and its variance; infinite where one user cannot tell."""
    total, squares = (float(each) for each in answer.sums[option])
    users, mean = answer.users, total / answer.users
    if users == 1:
        return mean, math.inf
    return mean, max(squares / users - mean * mean, 0.0) / (users - 1)
