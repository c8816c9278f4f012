"""Conformal p-values: how unusual a value is among those of other users, without a distributional assumption.

Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005. For a further user drawn from the same
distribution, the p-value is at most p with a probability of at most p.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["conformal_quantiles", "p_value"]

MAX_QUANTILES = 99  # p-values in steps of a hundredth


def conformal_quantiles(values: Sequence[float], limit: int = MAX_QUANTILES) -> tuple[float, ...]:
    """At most `limit` of the values, ascending, chosen so that p-values never shrink.

    Of n values, the j-th largest kept has rank j (n + 1) / (limit + 1) from the largest, rounded down.

    Args:
        values: one per user, in any order.
        limit: number of values to keep.
    """
    ordered = np.sort(np.asarray(values, np.float64))[::-1]
    if len(ordered) > limit:
        ordered = ordered[np.arange(1, limit + 1) * (len(ordered) + 1) // (limit + 1) - 1]
    return tuple(float(f"{value:.6g}") for value in ordered[::-1])


def p_value(values: Sequence[float], own: float) -> float:
    """The share of values at least as large as `own`, counting `own`; the smallest possible where `own` is NaN."""
    return (1 + sum(value >= own for value in values)) / (1 + len(values))
