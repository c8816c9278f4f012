"""What an application hands in, as rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tegu.core.data.batch import Array, Batch, NumpyBatch
from tegu.core.data.spec import Spec, check_rows, check_x
from tegu.core.errors import DataError

__all__ = ["empty_support", "input_rows", "interaction_rows"]


def input_rows(spec: Spec, x: ArrayLike) -> Array:
    """Checked inputs `[rows, *spec.x.shape]`; one input may come without the axis of rows.

    Raises:
        DataError: they do not fit `spec`.
    """
    array = np.asarray(x)
    return check_x(spec, array[None] if _is_one(spec, array) else array)


def interaction_rows(spec: Spec, x: ArrayLike, y: ArrayLike | None) -> tuple[Array, Array]:
    """Checked inputs and targets; one interaction may come without the axis of rows.

    Args:
        spec: what the model takes.
        x: `[rows, *spec.x.shape]` or `spec.x.shape`.
        y: targets likewise; None stands for a weight of 1 each, for ranking alone.

    Raises:
        DataError: they do not fit `spec`, or `y` is None for another kind than ranking.
    """
    inputs = np.asarray(x)
    one = _is_one(spec, inputs)
    inputs = inputs[None] if one else inputs
    if y is None:
        if spec.kind != "ranking":
            raise DataError(
                f"y is None: expected a target for each row of x; only ranking goes without, not {spec.kind}"
            )
        return check_rows(spec, inputs, np.ones(inputs.shape[:1], np.float32))
    targets = np.asarray(y)
    return check_rows(spec, inputs, targets[None] if one else targets)


def empty_support(spec: Spec) -> NumpyBatch:
    """One row of zeros that counts for nothing: the support of a user of whom nothing is known."""
    return Batch(
        np.zeros((1, *spec.x.shape), spec.x.dtype),
        np.zeros((1, *spec.y.shape), spec.y.dtype),
        np.zeros(1, np.float32),
    )


def _is_one(spec: Spec, x: Array) -> bool:
    return x.shape == spec.x.shape
