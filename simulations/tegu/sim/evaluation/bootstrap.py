"""Confidence interval of a mean over users: the percentile bootstrap (Efron 1979, "Bootstrap Methods")."""

from __future__ import annotations

import numpy as np

from tegu.core.data.batch import Array

__all__ = ["RESAMPLES", "mean_interval"]

RESAMPLES = 2000
LEVEL = 0.95
_DRAWN = 2**22  # indices drawn at once: 32 MiB


def mean_interval(values: Array, rng: np.random.Generator) -> tuple[float, float]:
    """Return the lower and upper end of the 95% confidence interval of the mean.

    The users are resampled with replacement 2,000 times. The ends are quantiles of the resampled means.

    Args:
        values: `[users]`, one figure per user; at least one user.
        rng: draws the resamples.
    """
    users = len(values)
    at_once = max(1, _DRAWN // users)
    means = [
        values[rng.integers(0, users, (min(at_once, RESAMPLES - done), users))].mean(1)
        for done in range(0, RESAMPLES, at_once)
    ]
    low, high = np.quantile(np.concatenate(means), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
