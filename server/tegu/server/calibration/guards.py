"""The guards that calibration tries: every weight, guard and floor for each candidate correction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from tegu.core.bundle.manifest import Knobs
from tegu.core.calibration.guard import GainModel, Guard

__all__ = ["with_guards"]

_WEIGHTS = (0.25, 0.5, 0.75, 1.0)
_GUARDS_AND_FLOORS = ((2.0, 0.0), (2.0, 0.3), (4.0, 0.0), (4.0, 0.3), (4.0, 0.5), (4.0, 0.7), (0.0, 0.0))
_MIN_USERS_FOR_GUARD = 10  # fewer users cannot show that one in twenty is harmed: only the first guard is evaluated


def with_guards(knobs: Knobs, model: GainModel, users: int, *, gains: bool) -> Iterable[Knobs]:
    """A candidate with every weight, guard and floor.

    A floor applies part of the adaptation to users without evidence, which means most users. Floors above 0 are
    therefore only evaluated for candidates that gain on average.

    Args:
        knobs: the candidate.
        model: predicts the gain from the evidence.
        users: number of calibration users.
        gains: whether the candidate gains on average.
    """
    pairs = [pair for pair in _GUARDS_AND_FLOORS if gains or not pair[1]]
    for weight in _WEIGHTS:
        for guard, floor in pairs[:1] if users < _MIN_USERS_FOR_GUARD else pairs:
            yield {**knobs, **asdict(Guard(weight, guard, floor, *model))}
