"""Mean and standard deviation of inputs or targets, for standardising them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tegu.core.data.batch import Array

__all__ = ["Scaling", "scaling_of"]


class Scaling(NamedTuple):
    """Mean and standard deviation of rows; float32, with the shape of one row or of a scalar.

    Attributes:
        mean: value that becomes 0.
        std: standard deviation, which becomes 1; above 0.
    """

    mean: Array
    std: Array


def scaling_of(rows: Array) -> Scaling:
    """The scaling of rows, over the first axis. Where all rows are equal, `std` is 1."""
    mean, std = (np.asarray(part(rows, axis=0, dtype=np.float64)) for part in (np.mean, np.std))
    return Scaling(mean.astype(np.float32), np.where(std > 0, std, 1.0).astype(np.float32))
