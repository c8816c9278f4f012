"""What was protected, and what was not: for metrics, the manifest, the report and people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tegu.core.bundle.manifest import ScheduleEntry
from tegu.core.privacy.gaussian import gaussian_epsilon
from tegu.server.privacy.accountant import accountant_name
from tegu.server.privacy.central import CentralPrivacy
from tegu.server.privacy.plan import PrivacyPlan

__all__ = ["NOT_COUNTED", "local_statement", "statement", "without_people"]

UNIT = "one person: all of the person's updates, or zeros in their place"
NOT_COUNTED = (
    "not counted is what calibration, validation and held-out figures release (sums and means over people), what was "
    "fitted from rows before training (scales, names), and who is connected"
)


def statement(plan: PrivacyPlan, central: CentralPrivacy | None, rounds: int, clip: float) -> dict[str, Any]:
    """What a training has spent, as JSON; empty if nobody has added noise.

    Args:
        plan: the settings.
        central: the account; None without central noise.
        rounds: number of rounds run.
        clip: of the last round.
    """
    if not plan.is_on:
        return {}
    found: dict[str, Any] = {"unit": UNIT, "delta": plan.delta, "clip": clip, "not_counted": NOT_COUNTED}
    if central is not None:
        found |= {
            "epsilon": central.epsilon,
            "target": plan.epsilon,
            "noise_multiplier": central.noise,
            "sampling": "Poisson",
            "rounds": [each._asdict() for each in central.spent],
            "accountant": accountant_name(),
            "randomness": "operating system" if central.plan.seed is None else f"seed {central.plan.seed}",
            "ended": central.ended,
        }
    if plan.local_noise:
        found["local"] = local_statement(plan.local_noise, plan.delta, rounds)
    return found


def local_statement(noise: float, delta: float, rounds: int) -> dict[str, Any]:
    """What a node's replies have spent toward the server, if it answered in every round."""
    return {"noise_multiplier": noise, "rounds": rounds, "epsilon": gaussian_epsilon(rounds / noise**2, delta)}


def without_people(schedule: Sequence[ScheduleEntry]) -> tuple[ScheduleEntry, ...]:
    """The schedule without single calibration users' losses, and without figures that no device needs."""
    return tuple(entry._replace(losses=(), frontier=()) for entry in schedule)
