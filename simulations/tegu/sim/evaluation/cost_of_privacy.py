"""What noise for privacy costs: the same training without it, on the same held-out users."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tegu.server.privacy.plan import PrivacyPlan
from tegu.server.training.plan import TrainingPlan
from tegu.sim.evaluation.heldout import evaluate_heldout
from tegu.sim.run_result import RunResult

__all__ = ["WITHOUT", "with_privacy", "with_results_without_noise", "without_privacy"]

WITHOUT = "without_noise"  # of an entry of the curve


def with_privacy(plan: TrainingPlan, privacy: PrivacyPlan) -> TrainingPlan:
    """The plan with noise. With noise on the mean no user is in two trainings, so that there are no folds.

    Raises:
        DataError: the plan has settings that noise excludes.
    """
    calibration = replace(plan.calibration, folds=0) if privacy.central else plan.calibration
    return replace(plan, calibration=calibration, privacy=privacy)


def without_privacy(plan: TrainingPlan, clip: float | str | None) -> TrainingPlan:
    """The same plan without noise. Nobody is clipped, unless the plan with noise has a number as its clip.

    Args:
        plan: with noise.
        clip: of the plan with noise.
    """
    own = clip if isinstance(clip, float | int) else math.inf
    return replace(plan, privacy=PrivacyPlan(), updates=replace(plan.updates, clip=own))


def with_results_without_noise(curve: Sequence[dict[str, Any]], plain: RunResult, draws: int) -> list[dict[str, Any]]:
    """The curve, with the mean metrics of a training without noise beside.

    Args:
        curve: of the run with noise.
        plain: the run without.
        draws: supports of each user at each k.
    """
    found = {entry["k"]: entry for entry in evaluate_heldout(plain, {}, draws).curve}
    names = ("initialisation", "personalised")
    return [{**entry, WITHOUT: {name: found[entry["k"]][name] for name in names}} for entry in curve]
