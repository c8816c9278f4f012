"""How much an interaction of a ranking counts, given its weight."""

from __future__ import annotations

import numpy as np

from tegu.core.data.batch import Array

__all__ = ["confidence"]


def confidence(weights: Array) -> Array:
    """The confidence of weights such as play counts: a weight up to 1 counts as it is, a larger one as 1 + ln(weight).

    Counts differ by orders of magnitude, and a gradient step in proportion to a count of thousands diverges. Hu, Koren,
    Volinsky 2008 ("Collaborative Filtering for Implicit Feedback Datasets", section 4) take a confidence of
    `1 + a ln(1 + count / b)`. This one leaves a click's weight of 1, and weights below it, exactly as they are.

    Args:
        weights: not negative.
    """
    return np.minimum(weights, 1) + np.log(np.maximum(weights, 1))
