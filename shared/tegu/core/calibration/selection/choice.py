"""The candidate for one k: the largest gain among those shown, or estimated, to keep the limits on harm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tegu.core.bundle.shown import HarmShown
from tegu.core.calibration.selection.binomial import lower_bound, upper_bound
from tegu.core.calibration.selection.enough_people import people_needed
from tegu.core.calibration.selection.figures import Figures
from tegu.core.calibration.selection.fixed_sequence import SequenceTest, run_sequence_test
from tegu.core.calibration.selection.limits import Limits
from tegu.core.data.batch import Array

__all__ = [
    "GAIN_Z",
    "Choice",
    "Evidence",
    "acceptable",
    "choose",
    "described",
    "not_shown_worse",
    "nothing_chosen",
    "tested_along",
    "within_limits",
]

GAIN_Z = 1.645  # standard errors that a mean gain must exceed: one-sided 95%
_ROUNDING = 1e-6  # relative: gains computed on one device and in a batch differ by less


class Evidence(NamedTuple):
    """Figures of the same candidates at one k.

    Attributes:
        proposing: of the proposing users, pooled over k.
        testing: of the testing users at this k alone.
        everyone: of both at this k alone.
        pooled: of both, pooled over k.
    """

    proposing: Figures
    testing: Figures
    everyone: Figures
    pooled: Figures

    @property
    def people(self) -> int:
        """Number of calibration users at this k."""
        return round(float(self.everyone.people.max(initial=0.0)))

    @property
    def testers(self) -> int:
        """Number of testing users at this k."""
        return round(float(self.testing.people.max(initial=0.0)))


class Choice(NamedTuple):
    """What is selected at one k.

    Attributes:
        candidate: its index; None for not adapting.
        gain: mean gain over users.
        gain_sd: standard deviation of the users' gains.
        harm: what was shown about it.
    """

    candidate: int | None
    gain: float
    gain_sd: float
    harm: HarmShown


def tested_along(path: Sequence[int], evidence: Evidence, limits: Limits) -> SequenceTest:
    """Test a path on the testing users.

    The limit is `risk`. Where the testing users are too few to show it, the limit is the least share that they can be
    expected to show about the gentlest candidate. Their number and the proposing users alone determine it. One hurt
    user is always expected: a single unlucky user would otherwise decide wherever fewer than 77 test.

    Args:
        path: candidates from gentle to strong, at least one.
        evidence: figures at this k.
        limits: risk and confidence.
    """
    people = evidence.testers
    limit = _limit(float(evidence.proposing.hurt[path[0]]), people, limits)
    counts = np.where(evidence.testing.finite, evidence.testing.sums[:, 2], people)[list(path)]
    hurt = [round(float(count)) for count in np.nan_to_num(counts, nan=people)]
    return run_sequence_test(hurt, people, limit, limits.confidence)


def _limit(gentlest: float, people: int, limits: Limits) -> float:
    """The share of users to be shown by so many testing users, who have not been seen.

    Args:
        gentlest: share of the proposing users whom the gentlest candidate hurts.
        people: number of testing users.
        limits: risk and confidence.
    """
    if limits.must_show and upper_bound(0, people, limits.confidence) <= limits.risk:
        return limits.risk
    expected = max(1, round(people * gentlest))
    return max(limits.risk, upper_bound(min(expected, people), people, limits.confidence))


def acceptable(figures: Figures, limits: Limits) -> Array:
    """Which candidates keep the limits as estimated, and gain significantly, bool `[candidates]`."""
    significant = figures.gain > GAIN_Z * figures.error
    within: Array = within_limits(figures, limits) & significant
    return within


def within_limits(figures: Figures, limits: Limits) -> Array:
    """Which candidates gain and keep the limits as estimated, bool `[candidates]`."""
    harmless = (figures.hurt <= limits.risk) & (figures.harm_ratio <= limits.harm_ratio)
    within: Array = figures.finite & harmless & (figures.gain > 0)
    return within


def not_shown_worse(evidence: Evidence, limits: Limits) -> Array:
    """Which candidates few people do not show to lose, or to hurt more than `risk`, bool `[candidates]`."""
    own, pooled = evidence.everyone, evidence.pooled
    counts = np.where(own.finite, own.sums[:, 2], evidence.people)
    least = [lower_bound(round(float(count)), evidence.people, limits.confidence) for count in counts]
    kept: Array = own.finite & (np.asarray(least) <= limits.risk) & (pooled.gain > -GAIN_Z * pooled.error)
    return kept


def choose(options: Sequence[int], figures: Figures) -> int | None:
    """The option with the largest mean gain; of options with equal gains up to rounding, the first."""
    best, most = None, 0.0
    for option in options:
        if figures.gain[option] > most * (1 + _ROUNDING):
            best, most = option, float(figures.gain[option])
    return best


def described(candidate: int, bound: float, evidence: Evidence, limits: Limits) -> Choice:
    """A chosen candidate with its figures.

    Args:
        candidate: its index.
        bound: what was shown about the share of users that it materially hurts.
        evidence: figures at this k.
        limits: that were asked for.
    """
    own = evidence.everyone if np.isfinite(evidence.everyone.harm_ratio[candidate]) else evidence.pooled
    hurt, people = float(own.hurt[candidate]), evidence.people
    needed = None
    if bound > limits.risk:
        needed = _needed(limits, hurt, float(evidence.testing.hurt[candidate]))
        needed = None if needed is None else max(needed, people + 1)
    harm = HarmShown(
        bound,
        limits.confidence,
        people,
        hurt,
        float(own.harm_ratio[candidate]),
        limits.risk,
        needed,
        limits.material,
    )
    return Choice(candidate, float(own.gain[candidate]), float(own.deviation[candidate]), harm)


def _needed(limits: Limits, hurt: float, testers_hurt: float) -> int | None:
    """How many calibration users would show the limit: of testing users like these, if that is possible."""
    share = testers_hurt if hurt < testers_hurt < limits.risk else hurt
    return people_needed(limits, share)


def nothing_chosen(people: int, limits: Limits) -> Choice:
    """Not adapting, which hurts nobody."""
    harm = HarmShown(0.0, limits.confidence, people, 0.0, 0.0, limits.risk, None, limits.material)
    return Choice(None, 0.0, 0.0, harm)
