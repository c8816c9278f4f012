"""What other limits would allow: the frontier of gain and harm, for owners to choose from."""

from __future__ import annotations

import math

import numpy as np

from tegu.core.bundle.shown import FrontierPoint
from tegu.core.calibration.selection.choice import acceptable, choose
from tegu.core.calibration.selection.figures import COLUMNS, Figures, ratio_of_sums
from tegu.core.calibration.selection.limits import Limits
from tegu.core.data.batch import Array

__all__ = ["RISKS", "gain_frontier"]

RISKS = (0.01, 0.02, 0.05, 0.1, 0.2)


def gain_frontier(proposing: Figures, testing: Figures, limits: Limits) -> tuple[FrontierPoint, ...]:
    """The gain and harm that each limit on materially hurt users allows, as estimated on all calibration users.

    Each half of the users chooses a candidate, which the other half measures, so that a choice among many candidates
    does not flatter itself. Empty where a half has no users.

    Args:
        proposing: figures of one half at one k.
        testing: figures of the other half.
        limits: the harm ratio limits every point but the last, which has no limit.
    """
    if not (proposing.people.any() and testing.people.any()):
        return ()
    points = [_point(proposing, testing, limits._replace(risk=risk), risk) for risk in RISKS]
    return (*points, _point(proposing, testing, limits._replace(risk=1.0, harm_ratio=math.inf), None))


def _point(one: Figures, other: Figures, limits: Limits, risk: float | None) -> FrontierPoint:
    measured = _measured(one, other, limits) + _measured(other, one, limits)
    people = float(one.people.max(initial=0.0) + other.people.max(initial=0.0))
    ratio = ratio_of_sums(people, measured)
    gain, hurt = (float(measured[column]) / max(people, 1.0) for column in (0, 2))
    return FrontierPoint(risk, gain, hurt, ratio if math.isfinite(ratio) else 1.0)


def _measured(choosing: Figures, measuring: Figures, limits: Limits) -> Array:
    """The sums over the measuring users of what the choosing users choose."""
    chosen = choose(np.flatnonzero(acceptable(choosing, limits)).tolist(), choosing)
    if chosen is None or not measuring.finite[chosen]:
        return np.zeros(COLUMNS)
    sums: Array = measuring.sums[chosen]
    return sums
