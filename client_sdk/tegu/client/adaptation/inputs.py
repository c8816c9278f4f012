"""Checks what an application passes in, and brings it into rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from tegu.client.adaptation.own_words import given_inputs, given_targets
from tegu.core.data.arrays import as_array
from tegu.core.data.batch import Array, Batch, NumpyBatch
from tegu.core.data.spec import Field, Spec, check_rows, check_x, packed
from tegu.core.encoding.encoding import Encoding
from tegu.core.errors import DataError

__all__ = ["empty_support", "input_rows", "interaction_rows"]


def input_rows(spec: Spec, x: Any, encoding: Encoding | None = None) -> Array:
    """Checked inputs `[rows, *spec.x.shape]`; a single input may omit the axis of rows.

    Args:
        spec: of the model.
        x: in the application's own words where `encoding` has them (`tegu.client.adaptation.own_words`); otherwise rows
            or several inputs, as in `tegu.core.data.spec.packed`.
        encoding: of the bundle.

    Raises:
        DataError: they do not fit `spec` or `encoding`.
    """
    array = _raw_inputs(spec, encoding, x)
    return check_x(spec, array[None] if _is_one(spec, array) else array)


def interaction_rows(spec: Spec, x: Any, y: Any, encoding: Encoding | None = None) -> tuple[Array, Array]:
    """Checked inputs and targets; a single interaction may omit the axis of rows.

    Args:
        spec: of the model.
        x: as in `input_rows`.
        y: targets likewise. For ranking, None means a weight of 1 for each row.
        encoding: of the bundle.

    Raises:
        DataError: they do not fit `spec` or `encoding`, or `y` is None although `spec` is not for ranking.
    """
    inputs = _raw_inputs(spec, encoding, x)
    inputs = inputs[None] if _is_one(spec, inputs) else np.atleast_1d(inputs)
    if y is None:
        if not len(inputs):
            return check_rows(spec, inputs, _no_rows(spec.y))
        if spec.kind != "ranking":
            raise DataError(
                f"y is None: expected a target for each row of x; only ranking may omit it, not {spec.kind}"
            )
        return check_rows(spec, inputs, np.ones(inputs.shape[:1], np.float32))
    targets = _no_rows(spec.y) if _is_empty(y) else as_array("y", given_targets(encoding, y))
    one = len(inputs) == 1 and targets.ndim <= len(spec.y.shape)
    return check_rows(spec, inputs, targets[None] if one else targets)


def empty_support(spec: Spec) -> NumpyBatch:
    """One padding row: the support of a user without interactions."""
    return Batch(
        np.zeros((1, *spec.x.shape), spec.x.dtype),
        np.zeros((1, *spec.y.shape), spec.y.dtype),
        np.zeros(1, np.float32),
    )


def _raw_inputs(spec: Spec, encoding: Encoding | None, x: Any) -> Array:
    if _is_empty(x):
        return _no_rows(spec.x)
    given = given_inputs(spec, encoding, x)
    return packed(spec, x) if given is None else given


def _is_empty(values: Any) -> bool:
    """Whether there are no rows, given as `[]`, whose shape and dtype no one chose."""
    return values.shape == (0,) if isinstance(values, np.ndarray) else isinstance(values, list | tuple) and not values


def _no_rows(field: Field) -> Array:
    return np.zeros((0, *field.shape), field.dtype)


def _is_one(spec: Spec, x: Array) -> bool:
    return x.shape == spec.x.shape
