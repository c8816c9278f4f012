"""Whether validation figures no longer rise, so that further rounds are not worth their time.

Training slows down as it proceeds: what a round changes late in a run takes many rounds to show. Validations are
therefore a tenth of the rounds so far apart, and a run has ended to rise once its best figure lies in the first 60% of
its rounds. It then has cost about 1.7 times as many rounds as the best. The first 50 rounds are cheap, and a few people
who validate would often end a run in them by chance: only later ones are compared.

A figure is the mean of the initialisation's and the personalised one. Where users who calibrate also choose the round,
a figure that they have by luck then raises both, so that the choice does not make the gain of adapting, which
calibration estimates, look larger. Figures are means of five validations, because the highest of many noisy ones is
mostly luck. The round that is kept is the last one whose figure was within half a standard deviation of a step of the
best so far: a difference within noise is no reason to undo training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from statistics import fmean

from tegu.server.evaluation.validation import Validation

__all__ = ["is_comparison_round", "is_flat", "is_growing_round", "kept_round"]

_FIRST = 50  # rounds
_GROWTH = 1.1
_COMPARED = 4  # one validation of so many
_SMOOTHING_POINTS = 5
_BEST_WITHIN = 0.6  # of the rounds so far
_MIN_POINTS = 10
_WITHIN = 0.5  # standard deviations of a step
_STEPS = 6  # points at least, from which the deviation of a step is estimated


def is_growing_round(number: int) -> bool:
    """Whether a round is validated whose distance to the validation before is a tenth of the rounds so far.

    The rounds are 50, 55, 61, 67, 74, 81, 89, 98, 108, ...
    """
    return number >= _FIRST and _place(number) > _place(number - 1)


def is_comparison_round(number: int) -> bool:
    """Whether the validation of this growing round includes the comparison group, who train.

    One in four does, at rounds 50, 74, 108, 158, ... The group decides nothing and only shows how much better people
    are served who train, and a person of it takes as long to evaluate as one who calibrates.
    """
    return is_growing_round(number) and _place(number) % _COMPARED == 0


def _place(number: int) -> int:
    return math.floor(math.log(number / _FIRST) / math.log(_GROWTH))


def kept_round(validations: Sequence[Validation], higher_is_better: bool) -> int | None:
    """The last round that was about as good as the best one before it; None without validations.

    Args:
        validations: in order of rounds.
        higher_is_better: direction of the metric.
    """
    compared = _compared(validations)
    figures = [_figure(each, higher_is_better) for each in compared]
    smoothed = _smoothed(figures)
    best = list(accumulate(smoothed, max))
    good = [
        each.round
        for place, each in enumerate(compared)
        if smoothed[place] >= best[place] - _WITHIN * _deviation_of_a_step(figures[: place + 1])
    ]
    return good[-1] if good else None


def is_flat(validations: Sequence[Validation], higher_is_better: bool) -> bool:
    """Whether the best round lies in the first 60% of the rounds so far.

    The arguments are those of `kept_round`.
    """
    compared = _compared(validations)
    if len(compared) < _MIN_POINTS:
        return False
    figures = _smoothed([_figure(each, higher_is_better) for each in compared])
    best = compared[max(range(len(figures)), key=figures.__getitem__)].round
    return best <= _BEST_WITHIN * compared[-1].round


def _compared(validations: Sequence[Validation]) -> Sequence[Validation]:
    """Those after the first rounds; all if there are no others."""
    return [each for each in validations if each.round >= _FIRST] or validations


def _deviation_of_a_step(figures: Sequence[float]) -> float:
    """From the differences of neighbouring steps in the later half, so that a trend does not count as noise."""
    later = figures[-max(_STEPS, len(figures) // 2) :]
    steps = [after - before for before, after in pairwise(later)]
    squares = [(after - before) ** 2 for before, after in pairwise(steps)]
    found = math.sqrt(fmean(squares) / 2) if squares else 0.0
    return found if math.isfinite(found) else 0.0


def _figure(validation: Validation, higher_is_better: bool) -> float:
    """The figure of both, higher is better; the worst of all if it is not finite."""
    both = (validation.initialisation + validation.personalised) / 2
    figure = both if higher_is_better else -both
    return figure if math.isfinite(figure) else -math.inf


def _smoothed(figures: Sequence[float]) -> list[float]:
    """The mean of each figure and those before it."""
    return [fmean(figures[max(0, end - _SMOOTHING_POINTS) : end]) for end in range(1, len(figures) + 1)]
