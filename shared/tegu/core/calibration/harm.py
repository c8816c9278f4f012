"""What counts as harm: how much of a user's figure may be lost, who is materially hurt, and losses beside gains."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from tegu.core.data.batch import Array

__all__ = [
    "HARM_RATIO",
    "MATERIAL",
    "GainSums",
    "allowed_loss",
    "harm_ratio",
    "harm_ratio_less_noise",
    "materially_hurt",
]

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


class GainSums(NamedTuple):
    """Sums over users.

    Attributes:
        people: number of users, above 0.
        gain: of their gains.
        squared: of their squared gains.
        lost: of the losses of those who lose, positive.
        lasting: of their squared gains less noise; see `tegu.core.calibration.query_noise`.
        fourths: of the squares of these.
    """

    people: float
    gain: float
    squared: float
    lost: float
    lasting: float
    fourths: float


def harm_ratio(losses: float, gains: float) -> float:
    """The losses of all who lose, divided by the gains of all who gain; 0 if nobody loses, infinite if nobody gains.

    Args:
        losses: sum over users who lose, positive.
        gains: sum over users who gain.
    """
    if losses <= 0:
        return 0.0
    return losses / gains if gains > 0 else float("inf")


def harm_ratio_less_noise(sums: GainSums, errors: float = 0.0) -> float:
    """The harm ratio of users' lasting gains: with few query rows, users without a lasting loss lose by chance.

    The mean square of lasting gains can be estimated without that chance (`query_noise.squares_less_noise`). The losses
    are reduced as those of normally distributed gains are, if their mean stays and their mean square becomes that of
    lasting gains. Gains less losses stay the mean gain. Without noise it is the observed ratio, and never more.

    The mean and the mean square determine the losses of a normal distribution; of two equal losses of other shapes, the
    ratio of noisy to lasting losses differs. Decision 056 shows by how much.

    Args:
        sums: over users.
        errors: standard errors of the lasting mean square that are added to it, for caution.
    """
    people, gain, squared, lost, lasting, fourths = sums
    mean, square = gain / people, lasting / people
    error = math.sqrt(max(fourths / people - square * square, 0.0) / people)
    spread = math.sqrt(max(square + errors * error - mean * mean, 0.0))
    observed = math.sqrt(max(squared / people - mean * mean, 0.0))
    share = min(_normal_loss(mean, spread) / max(_normal_loss(mean, observed), 1e-300), 1.0)
    losses = max(lost, 0.0) / people * share
    return harm_ratio(losses, losses + mean)


def _normal_loss(mean: float, deviation: float) -> float:
    """The mean loss of normally distributed gains: that of `max(-gain, 0)`."""
    if deviation <= 0:
        return max(-mean, 0.0)
    at = mean / deviation
    density = math.exp(-at * at / 2) / math.sqrt(2 * math.pi)
    return max(deviation * density - mean * math.erfc(at / math.sqrt(2)) / 2, 0.0)
