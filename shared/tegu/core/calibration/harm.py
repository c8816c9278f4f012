"""What counts as harm: how much of a user's figure may be lost, who is materially hurt, and losses beside gains."""

from __future__ import annotations

import numpy as np

from tegu.core.data.batch import Array

__all__ = ["HARM_RATIO", "MATERIAL", "allowed_loss", "harm_ratio", "materially_hurt"]

MATERIAL = 0.05  # of a user's own figure under the initialisation
HARM_RATIO = 0.2  # losses of losers, as a share of the gains of gainers
_ROUNDING = 1e-9  # a change in the order of summation may alter a metric near 1 by this much


def allowed_loss(initialisation: Array, resolution: Array, material: float = MATERIAL) -> Array:
    """How much each user's figure may fall before the user counts as materially hurt, `[users]`.

    It is the larger of one query row's contribution and a share of the user's own figure.

    Args:
        initialisation: `[users]`, the figure under the initialisation.
        resolution: `[users]`, the contribution of one query row; see `tegu.core.sampling.trials.tolerance`.
        material: share of the user's own figure.
    """
    allowed: Array = np.maximum(resolution, material * np.abs(initialisation))
    return allowed


def materially_hurt(gain: Array, allowed: Array) -> Array:
    """Which users lose more than is allowed, bool `[users]`.

    Args:
        gain: `[users]`, mean over a user's draws; negative is a loss.
        allowed: `[users]`, from `allowed_loss`.
    """
    hurt: Array = gain < -allowed - _ROUNDING
    return hurt


def harm_ratio(losses: float, gains: float) -> float:
    """The losses of all who lose, divided by the gains of all who gain; 0 if nobody loses, infinite if nobody gains.

    Args:
        losses: sum over users who lose, positive.
        gains: sum over users who gain.
    """
    if losses <= 0:
        return 0.0
    return losses / gains if gains > 0 else float("inf")
