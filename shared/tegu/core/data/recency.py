"""What interactions count for by their age, so that a user whose taste changes is followed."""

from __future__ import annotations

import math

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.errors import DataError

__all__ = ["check_half_life", "effective_sample_size", "recency_weights"]


def recency_weights(rows: int, half_life: float | None) -> Array:
    """What each of a user's interactions counts for, float32 `[rows]`: a batch's mask.

    The newest, which is the last, counts 1, and one that is `half_life` interactions older half as much.

    Args:
        rows: how many there are.
        half_life: in interactions, above 0; None where all count alike.
    """
    if half_life is None:
        return np.ones(rows, np.float32)
    return np.exp2(-np.arange(rows - 1, -1, -1) / half_life).astype(np.float32)


def effective_sample_size(mask: Array) -> float:
    """How many interactions of one weight average as well as these do: the square of the sum over the sum of squares.

    Noise of the same size in every interaction is as large in the mean of so many as in the weighted mean of these
    (Kish 1965, "Survey Sampling"). It is what a schedule goes by, whose entries differ because few interactions are
    noisy. The sum alone would be fewer: it is how much the weights leave of the interactions, against a prior.

    Args:
        mask: `[rows]`, what each counts for, one of them more than 0.
    """
    weights = mask.astype(np.float64)
    return float(weights.sum() ** 2 / np.square(weights).sum())


def check_half_life(half_life: float | None) -> None:
    """Check a half-life.

    Raises:
        DataError: it is not a number above 0.
    """
    if half_life is not None and not 0 < half_life < math.inf:
        raise DataError(
            f"half_life is {half_life}: expected a number of interactions above 0, or None for all to count alike"
        )
