"""Conformal p-values: how unusual a figure is among those of other people, without a law for them.

Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005. Where one more person is drawn as the others
were, the p-value is at most p with a probability of at most p.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["conformal_quantiles", "p_value"]

MAX_QUANTILES = 99  # p-values in hundredths


def conformal_quantiles(figures: Sequence[float], limit: int = MAX_QUANTILES) -> tuple[float, ...]:
    """So many of `figures` at most, ascending, by which no p-value is smaller than by all.

    The j-th largest kept is the one of rank j (n + 1) / (limit + 1) of n, rounded down, from the largest.

    Args:
        figures: one a person, in any order.
        limit: how many to keep.
    """
    ordered = np.sort(np.asarray(figures, np.float64))[::-1]
    if len(ordered) > limit:
        ordered = ordered[np.arange(1, limit + 1) * (len(ordered) + 1) // (limit + 1) - 1]
    return tuple(float(f"{each:.6g}") for each in ordered[::-1])


def p_value(figures: Sequence[float], own: float) -> float:
    """`(1 + how many are at least own) / (1 + how many there are)`; as small as can be for one that is NaN."""
    return (1 + sum(each >= own for each in figures)) / (1 + len(figures))
