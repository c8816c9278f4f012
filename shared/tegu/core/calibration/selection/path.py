"""The proposing users' half: a path of candidates from gentle to strong."""

from __future__ import annotations

import numpy as np

from tegu.core.calibration.selection.figures import Figures
from tegu.core.calibration.selection.limits import Limits
from tegu.core.data.batch import Array

__all__ = ["propose_path"]

_ROUNDING = 1e-6  # relative: gains computed on one device and in a batch differ by less


def propose_path(proposing: Figures, limits: Limits) -> list[int]:
    """Candidates that gain more than any gentler one, the gentlest first; none without a candidate that gains.

    Candidates are compared by mean gain and by the smoothed share of hurt users, as Pareto does: a candidate stays if
    no other gains as much and hurts as few.

    Args:
        proposing: figures of the proposing users, pooled over k.
        limits: the harm ratio is limited.
    """
    gain = proposing.gain
    usable = proposing.finite & (gain > 0) & (proposing.harm_ratio <= limits.harm_ratio)
    return _pareto(np.flatnonzero(usable), gain, proposing.smoothed_hurt)


def _pareto(usable: Array, gain: Array, smoothed_hurt: Array) -> list[int]:
    kept, best = list[int](), 0.0
    for index in sorted(usable.tolist(), key=lambda each: (smoothed_hurt[each].round(9), -gain[each], each)):
        if gain[index] > best * (1 + _ROUNDING):
            kept.append(index)
            best = float(gain[index])
    return kept
