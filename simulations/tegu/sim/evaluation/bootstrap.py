"""How sure a mean over users is: the percentile bootstrap (Efron 1979, "Bootstrap Methods")."""

from __future__ import annotations

import numpy as np

from tegu.core.data.batch import Array

__all__ = ["RESAMPLES", "mean_interval"]

RESAMPLES = 2000
LEVEL = 0.95
_DRAWN = 2**22  # places drawn in one go: 32 MiB


def mean_interval(values: Array, rng: np.random.Generator) -> tuple[float, float]:
    """The 95% interval of the mean, ends included.

    Users are drawn anew with replacement, as many as there are, 2,000 times; the ends are the quantiles of the means.

    Args:
        values: `[users]`, a figure of each, at least one.
        rng: decides the draws.
    """
    users = len(values)
    at_once = max(1, _DRAWN // users)
    means = [
        values[rng.integers(0, users, (min(at_once, RESAMPLES - done), users))].mean(1)
        for done in range(0, RESAMPLES, at_once)
    ]
    low, high = np.quantile(np.concatenate(means), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
