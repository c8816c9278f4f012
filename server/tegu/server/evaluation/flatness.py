"""Whether validation figures no longer rise, so that further rounds are not worth their time.

Training slows down as it proceeds: what a round changes late in a run takes many rounds to show. Validations are
therefore a tenth of the rounds so far apart, and a run has ended to rise once its best figure lies in its first half.
It then has cost at most twice as many rounds as those that are kept.

A figure is the mean of the initialisation's and the personalised one. Where users who calibrate also choose the round,
a figure that they have by luck then raises both, so that the choice does not make the gain of adapting, which
calibration estimates, look larger. Figures are means of five validations, because the highest of many noisy ones is
mostly luck.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from tegu.server.evaluation.validation import Validation

__all__ = ["best_round", "is_flat", "is_growing_round"]

_FIRST = 10  # rounds
_GROWTH = 1.1
_SMOOTHING_POINTS = 5
_BEST_WITHIN = 0.5  # of the rounds so far
_MIN_POINTS = 10


def is_growing_round(number: int) -> bool:
    """Whether a round is validated whose distance to the validation before is a tenth of the rounds so far.

    The rounds are 10, 11, 12, 13, 14, 16, 17, 19, 21, ...
    """
    return number >= _FIRST and _place(number) > _place(number - 1)


def _place(number: int) -> int:
    return math.ceil(math.log(number / _FIRST) / math.log(_GROWTH) + 0.5)


def best_round(validations: Sequence[Validation], higher_is_better: bool) -> int | None:
    """The round of the best smoothed figure, the first of equal ones; None without validations.

    Args:
        validations: in order of rounds.
        higher_is_better: direction of the metric.
    """
    figures = _smoothed([_figure(each, higher_is_better) for each in validations])
    return validations[max(range(len(figures)), key=figures.__getitem__)].round if figures else None


def is_flat(validations: Sequence[Validation], higher_is_better: bool) -> bool:
    """Whether the best round lies in the first half of the rounds so far.

    The arguments are those of `best_round`.
    """
    best = best_round(validations, higher_is_better)
    return best is not None and len(validations) >= _MIN_POINTS and best <= _BEST_WITHIN * validations[-1].round


def _figure(validation: Validation, higher_is_better: bool) -> float:
    """The figure of both, higher is better; the worst of all if it is not finite."""
    both = (validation.initialisation + validation.personalised) / 2
    figure = both if higher_is_better else -both
    return figure if math.isfinite(figure) else -math.inf


def _smoothed(figures: Sequence[float]) -> list[float]:
    """The mean of each figure and those before it."""
    return [fmean(figures[max(0, end - _SMOOTHING_POINTS) : end]) for end in range(1, len(figures) + 1)]
