"""What numbers are like: their mean and spread."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tegu.core.data.batch import Array

__all__ = ["Scaling", "scaling_of"]


class Scaling(NamedTuple):
    """Mean and spread of rows; float32, of one row's shape or of one number.

    Attributes:
        mean: what becomes 0.
        spread: what becomes 1; above 0.
    """

    mean: Array
    spread: Array


def scaling_of(rows: Array) -> Scaling:
    """Over the first axis; of numbers that never change the spread is 1."""
    mean, spread = (np.asarray(part(rows, axis=0, dtype=np.float64)) for part in (np.mean, np.std))
    return Scaling(mean.astype(np.float32), np.where(spread > 0, spread, 1.0).astype(np.float32))
