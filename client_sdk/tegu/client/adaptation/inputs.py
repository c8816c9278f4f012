"""Checks what an application passes in, and brings it into rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tegu.core.data.arrays import as_array
from tegu.core.data.batch import Array, Batch, NumpyBatch
from tegu.core.data.spec import Field, RawInputs, Spec, check_rows, check_x, packed
from tegu.core.errors import DataError

__all__ = ["empty_support", "input_rows", "interaction_rows"]


def input_rows(spec: Spec, x: RawInputs) -> Array:
    """Checked inputs `[rows, *spec.x.shape]`; a single input may omit the axis of rows.

    Several inputs are given as in `tegu.core.data.spec.packed`.

    Raises:
        DataError: they do not fit `spec`.
    """
    array = _without_dtype_if_empty(spec.x, packed(spec, x))
    return check_x(spec, array[None] if _is_one(spec, array) else array)


def interaction_rows(spec: Spec, x: RawInputs, y: ArrayLike | None) -> tuple[Array, Array]:
    """Checked inputs and targets; a single interaction may omit the axis of rows.

    Args:
        spec: of the model.
        x: `[rows, *spec.x.shape]` or `spec.x.shape`; several inputs as in `packed`.
        y: targets likewise. For ranking, None means a weight of 1 for each row.

    Raises:
        DataError: they do not fit `spec`, or `y` is None although `spec` is not for ranking.
    """
    inputs = _without_dtype_if_empty(spec.x, packed(spec, x))
    one = _is_one(spec, inputs)
    inputs = inputs[None] if one else np.atleast_1d(inputs)
    if y is None:
        if not len(inputs):
            return check_rows(spec, inputs, np.zeros((0, *spec.y.shape), spec.y.dtype))
        if spec.kind != "ranking":
            raise DataError(
                f"y is None: expected a target for each row of x; only ranking may omit it, not {spec.kind}"
            )
        return check_rows(spec, inputs, np.ones(inputs.shape[:1], np.float32))
    targets = _without_dtype_if_empty(spec.y, as_array("y", y))
    return check_rows(spec, inputs, targets[None] if one else targets)


def empty_support(spec: Spec) -> NumpyBatch:
    """One padding row: the support of a user without interactions."""
    return Batch(
        np.zeros((1, *spec.x.shape), spec.x.dtype),
        np.zeros((1, *spec.y.shape), spec.y.dtype),
        np.zeros(1, np.float32),
    )


def _without_dtype_if_empty(field: Field, array: Array) -> Array:
    # The empty list has the shape (0,) and a dtype that no one chose.
    return np.zeros((0, *field.shape), field.dtype) if array.shape == (0,) else array


def _is_one(spec: Spec, x: Array) -> bool:
    return x.shape == spec.x.shape
