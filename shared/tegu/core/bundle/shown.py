"""What calibration has shown about a schedule entry: a bound on harm, and the frontier of gain and harm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

__all__ = ["FrontierPoint", "HarmShown", "frontier_from", "harm_from"]


class HarmShown(NamedTuple):
    """What calibration users have shown about the users that an entry's knobs materially hurt.

    Attributes:
        bound: with this `confidence`, at most this share of people like the calibration users is materially hurt.
        confidence: of the bound, such as 0.9.
        people: number of calibration users with enough rows.
        hurt: share of them that is materially hurt.
        harm_ratio: losses of those of them who lose, divided by the gains of those who gain, less the noise of few
            query rows and with one standard error added; the figure that is limited.
        risk: the limit that was asked for.
        needed: number of calibration users that it takes to show `risk`, if the same share of those who test is hurt;
            None if no number of them could, because too large a share is hurt.
        material: share of a user's own figure whose loss counts as material.
    """

    bound: float
    confidence: float
    people: int
    hurt: float
    harm_ratio: float
    risk: float
    needed: int | None
    material: float

    def __str__(self) -> str:
        """For people: "with 90% confidence at most 6.8% of people like these are materially hurt (61 people; ...)"."""
        if self.bound <= self.risk:
            would = ""
        elif self.needed is None:
            would = f"; {_percent(self.risk)} cannot be shown, because {_percent(self.hurt)} of them are hurt"
        else:
            would = f"; {_percent(self.risk)} would take {self.needed}"
        return (
            f"with {_percent(self.confidence)} confidence at most {_percent(self.bound)} of people like these are "
            f"materially hurt ({self.people} people{would})"
        )


class FrontierPoint(NamedTuple):
    """What a limit on materially hurt users allows, estimated on calibration users.

    Attributes:
        risk: largest share of users that may be materially hurt, with the plan's limit on the harm ratio; None for
            neither limit.
        gain: mean gain, in the metric.
        hurt: share of users that is materially hurt.
        harm_ratio: losses of losers, divided by the gains of gainers, as in `HarmShown`.
    """

    risk: float | None
    gain: float
    hurt: float
    harm_ratio: float

    def __str__(self) -> str:
        """For people: "risk 5%: gain 0.31, 2.1% hurt, harm ratio 0.08"."""
        limit = "no limit" if self.risk is None else f"risk {_percent(self.risk)}"
        return f"{limit}: gain {self.gain:.3g}, {_percent(self.hurt)} hurt, harm ratio {self.harm_ratio:.2g}"


def harm_from(fields: Mapping[str, Any]) -> HarmShown:
    """The inverse of `HarmShown._asdict`.

    Raises:
        TypeError: a field is missing or unknown, or no number.
        ValueError: a number is not finite, or a share is not from 0 to 1.
    """
    found = HarmShown(**fields)
    _check_numbers([value for name, value in found._asdict().items() if name != "needed" or value is not None])
    _check_shares(found.bound, found.confidence, found.hurt, found.risk)
    return found


def frontier_from(fields: Mapping[str, Any]) -> FrontierPoint:
    """The inverse of `FrontierPoint._asdict`; errors as `harm_from`."""
    found = FrontierPoint(**fields)
    _check_numbers([value for name, value in found._asdict().items() if name != "risk" or value is not None])
    _check_shares(0.0 if found.risk is None else found.risk, found.hurt)
    return found


def _check_numbers(values: Iterable[Any]) -> None:
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"expected a number, found {value!r}")
        if not abs(value) < float("inf"):
            raise ValueError(f"numbers must be finite, found {value}")


def _check_shares(*shares: float) -> None:
    for share in shares:
        if not 0 <= share <= 1:
            raise ValueError(f"expected a share from 0 to 1, found {share}")


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"
