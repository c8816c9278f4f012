"""Whether enough users calibrate to show a limit on harm at all."""

from __future__ import annotations

import math

from tegu.core.calibration.assignment import PROPOSING
from tegu.core.calibration.selection.binomial import people_to_show
from tegu.core.calibration.selection.limits import Limits
from tegu.core.errors import DataError

__all__ = ["check_people", "people_needed"]


def people_needed(limits: Limits, hurt: float = 0.0) -> int | None:
    """How many calibration users it takes to show the limit, of whom six in ten test.

    Args:
        limits: risk and confidence.
        hurt: share of the users that is materially hurt.

    Returns:
        The number; None if no number of users could show it.
    """
    testers = people_to_show(limits.risk, limits.confidence, hurt)
    return None if testers is None else math.ceil(testers / (1 - PROPOSING))


def check_people(people: int, limits: Limits | None) -> None:
    """Refuse a bound that must be shown, and that so few users cannot show even if none of them is hurt.

    Args:
        people: number of calibration users.
        limits: on harm; None for the rule of `risk="strict"`, which shows nothing.

    Raises:
        DataError: too few users.
    """
    if limits is None or not limits.must_show:
        return
    needed = people_needed(limits)
    if needed is not None and people >= needed:
        return
    takes = "no number of people can show that" if needed is None else f"that takes at least {needed}"
    raise DataError(
        f"{people} people calibrate, who are to show with {limits.confidence:.3g} confidence that at most "
        f"{limits.risk:g} of all are materially hurt: {takes}. Let more people calibrate (share, folds), choose a "
        "larger risk or a smaller confidence, or leave confidence out to show what can be shown"
    )
