"""Weights of interactions by age, so that adaptation follows a user whose taste changes."""

from __future__ import annotations

import math

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.errors import DataError
from tegu.core.scalars import real_number

__all__ = ["check_half_life", "effective_sample_size", "recency_weights"]


def recency_weights(rows: int, half_life: float | None) -> Array:
    """The weight of each interaction, float32 `[rows]`, for use as a batch's mask.

    The last interaction is the newest and has weight 1. An interaction that is `half_life` older has weight 1/2.

    Args:
        rows: number of interactions.
        half_life: in interactions, above 0; None for equal weights.
    """
    if half_life is None:
        return np.ones(rows, np.float32)
    return np.exp2(-np.arange(rows - 1, -1, -1) / half_life).astype(np.float32)


def effective_sample_size(mask: Array) -> float:
    """Kish's effective sample size: the squared sum of weights over the sum of squared weights.

    With equal noise in every interaction, the weighted mean is as noisy as the mean of this many equally weighted ones
    (Kish 1965, "Survey Sampling"). The schedule depends on it, because few interactions are noisy. The plain sum of
    weights would be smaller; it measures how much the interactions weigh against a prior.

    Args:
        mask: `[rows]`, weights, at least one above 0.
    """
    weights = mask.astype(np.float64)
    return float(weights.sum() ** 2 / np.square(weights).sum())


def check_half_life(half_life: float | None) -> None:
    """Check a half-life.

    Raises:
        DataError: it is not a number above 0.
    """
    if half_life is not None and not 0 < real_number("half_life", half_life) < math.inf:
        raise DataError(
            f"half_life is {half_life!r}: expected a number of interactions above 0, or None for equal weights"
        )
