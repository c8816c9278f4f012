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

from tegu.core.bundle.manifest import Knobs
from tegu.core.calibration.evaluation_request import CandidateSet, EvaluationRequest, MetricSums
from tegu.core.data.tree import Tree
from tegu.core.errors import DataError

__all__ = ["Best", "Look", "LookRule", "Looks", "gap_in_words", "look_of", "look_questions", "mean_look", "mean_looks"]

_CLEAR = 2.0  # standard errors: by chance one look in 44 finds a gap so wide


class Look(NamedTuple):
    """Means of the metric after so many rounds.

    Attributes:
        round: from 1.
        initialisation: of those who never train, without adapting.
        personalised: of the same, adapted.
        training: of those who train, adapted; NaN where nobody was asked.
        gap: how much better off those who train are, whichever way of the metric is better.
        error: its standard error.
    """

    round: int
    initialisation: float
    personalised: float
    training: float = math.nan
    gap: float = math.nan
    error: float = math.nan

    @property
    def opened(self) -> bool:
        """Whether the gap is wider than chance makes it."""
        return self.gap > _CLEAR * self.error

    def as_json(self) -> dict[str, float | None]:
        """By name; what is not finite, which JSON does not have, is None."""
        return {name: value if math.isfinite(value) else None for name, value in self._asdict().items()}


class Best(NamedTuple):
    """The best round so far; after it came `waited` looks that found none better."""

    round: int
    score: float
    meta: Tree
    waited: int = 0


@dataclass(frozen=True)
class LookRule:
    """When to look, and when to stop.

    Attributes:
        every: rounds from one look to the next; there is one after the first and the last round too. 0 for none.
        patience: so many looks in turn without a better one end the run, and the best look's parameters are kept;
            with 0, all rounds are run and the last one's are.
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


class Looks:
    """All looks of a run.

    Args:
        rule: when.
        inquiry: what is asked, with the questions of `look_questions`.
        rounds: of the whole run.
        best: of the rounds before, where a run is resumed.
    """

    def __init__(self, rule: LookRule, inquiry: EvaluationRequest, rounds: int, best: Best | None = None) -> None:
        self.rule, self.inquiry, self.best = rule, inquiry, best
        self.found: list[Look] = []
        self.seconds = 0.0
        self._rounds, self._began = rounds, 0.0

    @property
    def stopped(self) -> bool:
        """Whether patience has run out."""
        return self.best is not None and 0 < self.rule.patience <= self.best.waited

    def due(self, number: int) -> bool:
        """Whether to look after this round; a resumed run has a look at once, though that one decides nothing."""
        return bool(self.rule.every) and (not self.found or self.rule.counts(number, self._rounds))

    def begin(self) -> None:
        """Note that a look begins: its time is no training time."""
        self._began = time.perf_counter()

    def take(self, number: int, answers: Sequence[MetricSums], meta: Tree) -> Look | None:
        """What the answers tell of the parameters after a round; None where nobody has answered."""
        self.seconds += time.perf_counter() - self._began
        look = look_of(number, answers, self.rule.higher_is_better)
        if look is not None:
            self.found.append(look)
            if self.rule.patience and self.rule.counts(number, self._rounds):
                self.best = _better(self.best, look, meta, self.rule.higher_is_better)
        return look


def look_questions(k: int, knobs: Knobs, draws: int = 1) -> list[CandidateSet]:
    """What a look asks: the metric at k, by the learner's own knobs.

    Args:
        k: rows of each support.
        knobs: the learner's own.
        draws: trials of each user; one costs little, many times in a run.
    """
    both = [{**knobs, "steps": 0.0}, knobs]
    return [
        CandidateSet(k, both, "scores", "calibration", draws),
        CandidateSet(k, both[1:], "scores", "comparison", draws),
    ]


def look_of(number: int, answers: Sequence[MetricSums], higher_is_better: bool) -> Look | None:
    """What the answers to `look_questions` tell of the parameters after a round; None where nobody has answered."""
    calibration, comparison = answers
    if not calibration.users:
        return None
    (still, _), (personalised, variance) = (_mean(calibration, option) for option in (0, 1))
    if not comparison.users:
        return Look(number, still, personalised)
    training, other = _mean(comparison, 0)
    gap = training - personalised if higher_is_better else personalised - training
    return Look(number, still, personalised, training, gap, math.sqrt(variance + other))


def mean_look(looks: Sequence[Look]) -> Look | None:
    """The mean of looks at as many trainings, each by other people; None of none."""
    if not looks:
        return None
    return Look(
        round=max(look.round for look in looks),
        initialisation=fmean(look.initialisation for look in looks),
        personalised=fmean(look.personalised for look in looks),
        training=fmean(look.training for look in looks),
        gap=fmean(look.gap for look in looks),
        error=math.sqrt(sum(look.error**2 for look in looks)) / len(looks),
    )


def mean_looks(runs: Sequence[Sequence[Look]]) -> tuple[Look, ...]:
    """The means of several trainings' looks, after each round that all were looked at."""
    if not runs:
        return ()
    by_round = [{look.round: look for look in looks} for looks in runs]
    common = sorted(set.intersection(*(set(looks) for looks in by_round)))
    found = (mean_look([looks[number] for looks in by_round]) for number in common)
    return tuple(look for look in found if look is not None)


def gap_in_words(look: Look | None, metric: str) -> str:
    """A warning where those who train are clearly better off than those who do not; empty where they are not."""
    if look is None or not look.opened:
        return ""
    return (
        f"after round {look.round} {metric} is {look.training:.4g} for people who train and "
        f"{look.personalised:.4g} for people who do not: worse by {look.gap:.2g}, with a standard error of "
        f"{look.error:.2g}. The "
        "initialisation has begun to fit those it is trained on: stop earlier (patience), let weights decay "
        "(weight_decay of the outer optimiser), make the model smaller, or train on more people"
    )


def _mean(answer: MetricSums, option: int) -> tuple[float, float]:
    """The mean over users, and its variance; infinite where one user cannot tell."""
    total, squares = (float(each) for each in answer.sums[option])
    users, mean = answer.users, total / answer.users
    if users == 1:
        return mean, math.inf
    return mean, max(squares / users - mean * mean, 0.0) / (users - 1)


def _better(best: Best | None, look: Look, meta: Tree, higher_is_better: bool) -> Best:
    better = math.isfinite(look.personalised) and (
        best is None
        or not math.isfinite(best.score)
        or (look.personalised > best.score if higher_is_better else look.personalised < best.score)
    )
    if best is None or better:
        return Best(look.round, look.personalised, meta)
    return best._replace(waited=best.waited + 1)
