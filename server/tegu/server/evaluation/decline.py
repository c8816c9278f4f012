"""Whether the validation figure has fallen from its best by more than noise explains.

The users who validate, and their draws, are the same at every validation, so most of a point's own standard error
cancels in the difference of two points. The paired standard error would need each user's figures; a federation returns
only sums. Two estimates need only sums. Both are conservative (too large rather than too small), and the smaller is
used:

- From the sequence: how much neighbouring steps differ. Part of a step is noise that the next step undoes, and part
  is permanent and accumulates. The permanent part is assumed to be a third of a step's variance. Paired standard
  errors over users on `movielens`, between neighbouring points and between points twelve apart, give 0.19 (Adam, no
  weight decay) and 0.27 (the experiment's own settings).
- From the users: the standard errors of the two points, treated as independent. This estimate is several times the
  paired standard error (0.051 against 0.010 on `movielens`). It decides only if the sequence is short or the figure
  collapses.

A single point is mostly noise, so the figures compared are means of the last three points.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean
from typing import NamedTuple

__all__ = ["Decline", "ValidationPoint", "decline_as_json", "decline_from", "decline_in_words"]

_CLEAR_ERRORS = 2.0  # standard errors that make a decline clear
_SMOOTHING_POINTS = 3  # points in each mean
_PERMANENT_SHARE = 1 / 3  # of the variance of a step
_MIN_POINTS = 6  # fewer points have too few differences between steps to estimate a variance from


class ValidationPoint(NamedTuple):
    """The metric of validation users after a round.

    Attributes:
        round: from 1.
        figure: mean over users.
        error: standard error of that mean over users; NaN or infinite means unknown.
    """

    round: int
    figure: float
    error: float = math.nan


class Decline(NamedTuple):
    """How far the smoothed validation figure is below its best.

    Attributes:
        since: round of the best point.
        best: smoothed figure at the best point.
        round: round of the last point.
        figure: smoothed figure at the last point; not finite if the last point's figure is not.
        amount: how much worse the last figure is; 0 at the best point.
        error: standard error of the amount; infinite if it cannot be estimated.
        points: validation points since the best.
    """

    since: int
    best: float
    round: int
    figure: float
    amount: float
    error: float
    points: int

    @property
    def clear(self) -> bool:
        """Whether the amount exceeds two standard errors. A last figure that is not finite is a clear decline."""
        return self.amount > _CLEAR_ERRORS * self.error


def decline_from(points: Sequence[ValidationPoint], higher_is_better: bool) -> Decline | None:
    """The decline at the last point from the best point so far; None without points.

    Args:
        points: in order of rounds.
        higher_is_better: direction of the metric.
    """
    if not points:
        return None
    finite = [point for point in points if math.isfinite(point.figure)]
    sign, last = 1.0 if higher_is_better else -1.0, points[-1]
    smoothed = _smoothed([sign * point.figure for point in finite])
    best_index = max(range(len(smoothed)), key=smoothed.__getitem__, default=0)
    best = finite[best_index] if finite else points[0]
    since = sum(point.round > best.round for point in points)
    figure = sign * smoothed[best_index] if finite else best.figure
    if not math.isfinite(last.figure):
        return Decline(best.round, figure, last.round, last.figure, math.inf, 0.0, since)
    amount = smoothed[best_index] - smoothed[-1]
    error = min(_error_of_steps(finite, best_index), _error_of_users(best, last))
    return Decline(best.round, figure, last.round, sign * smoothed[-1], amount, error, since)


def decline_in_words(decline: Decline | None, metric: str, kept: int) -> str:
    """A warning if the decline is clear, otherwise an empty string.

    Args:
        decline: at the last validation point.
        metric: name of the metric.
        kept: round whose parameters the run keeps.
    """
    if decline is None or not decline.clear:
        return ""
    fell = (
        f"{metric} of validation users is {decline.amount:.2g} worse at round {decline.round} than at round "
        f"{decline.since} ({decline.best:.4g} -> {decline.figure:.4g}, standard error {decline.error:.2g})"
    )
    if kept == decline.since:
        return f"{fell}. Round {kept} is kept"
    return (
        f"{fell}. The run over-fits its training users: set patience to keep the best round, increase weight_decay of "
        "the outer optimiser, use a smaller model, or train on more users"
    )


def decline_as_json(decline: Decline | None, metric: str, kept: int) -> dict[str, float | str | None]:
    """The decline's figures by name, and the warning; empty without validation points.

    The arguments are those of `decline_in_words`. Figures that are not finite become None.
    """
    if decline is None:
        return {}
    figures = {name: value if math.isfinite(value) else None for name, value in decline._asdict().items()}
    return {**figures, "warning": decline_in_words(decline, metric, kept)}


def _smoothed(figures: Sequence[float]) -> list[float]:
    """The mean of each figure and the two before it."""
    return [fmean(figures[max(0, end - _SMOOTHING_POINTS) : end]) for end in range(1, len(figures) + 1)]


def _error_of_steps(points: Sequence[ValidationPoint], best_index: int) -> float:
    """Standard error of a difference of smoothed figures, from how much neighbouring steps differ.

    A step has variance v, of which v / 3 is permanent. Over `since` steps this makes v / 3 * (since - 2 / 3) between
    means of three points. The noise of the two means adds 2 / 9 * v, in total v / 3 * since. The differences of
    neighbouring steps estimate v, so a trend does not count as noise. The steps used are those since the best point,
    and at least the later half of the run, so a single jump counts as noise.
    """
    since = len(points) - 1 - best_index
    if len(points) < _MIN_POINTS:
        return math.inf
    figures = [point.figure for point in points[-max(_MIN_POINTS, len(points) // 2, since + 1) :]]
    steps = [after - before for before, after in pairwise(figures)]
    variance = fmean((after - before) ** 2 for before, after in pairwise(steps)) / 2
    return math.sqrt(variance * _PERMANENT_SHARE * since)


def _error_of_users(best: ValidationPoint, last: ValidationPoint) -> float:
    """Standard error of the difference of two points, treated as independent."""
    error = math.hypot(best.error, last.error)
    return error if math.isfinite(error) else math.inf
