"""The spec of arrays that come without one. Guesses are cautious, and each is printed as a note."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tegu.core.data.arrays import as_array
from tegu.core.data.batch import Array
from tegu.core.data.spec import Kind, RawInputs, Spec
from tegu.core.errors import DataError
from tegu.core.notes import note
from tegu.sim.data.guess_kind import guess_kind

__all__ = ["guess_spec"]

_ALIKE = 0.5  # of the largest number in x, reached by most columns: they may be places of one sequence


def guess_spec(x: RawInputs, y: ArrayLike, kind: Kind | None = None) -> Spec:
    """The spec that arrays fit.

    Real numbers, booleans and uint8 pictures in `x` are numbers. Whole numbers are ids if there is one for each row
    and they are dense from 0 or 1. In tables, whole numbers are numbers unless all columns have a similar range.

    Args:
        x: inputs, rows first.
        y: targets, rows first.
        kind: what is predicted; None to guess it from `y`.

    Raises:
        DataError: more than one spec is plausible; the message names both. Or the arrays fit none.
    """
    targets = as_array("y", y)
    kind = guess_kind("y", targets) if kind is None else kind
    if isinstance(x, Mapping):
        raise DataError(
            f"x has several inputs: pass spec=Spec.{kind}({{{_fields(x)}}}, ...), which says what each of them holds"
        )
    inputs = as_array("x", x)
    if kind == "ranking":
        return Spec.ranking(_catalogue(inputs))
    outputs = _classes(targets) if kind == "classification" else targets.shape[1] if targets.ndim > 1 else 1
    size = _ids_in(inputs, f"Spec.{kind}({inputs.shape[1:]}, {outputs}, tokens={_highest(inputs) + 1})")
    build = Spec.classification if kind == "classification" else Spec.regression
    return build(inputs.shape[1:], outputs, tokens=size)


def _fields(x: Mapping[str, Any]) -> str:
    """The likely fields of named inputs, as code."""
    return ", ".join(f"'{name}': {_field_code(as_array(name, value))}" for name, value in x.items())


def _field_code(array: Array) -> str:
    shape = [str(size) for size in array.shape[1:]]
    if array.dtype.kind == "b":
        return f"booleans({', '.join(shape)})"
    if array.dtype.kind in "iu" and array.dtype != np.uint8 and array.min(initial=0) >= 0:
        return f"ids({', '.join([str(_highest(array) + 1), *shape])})"
    return f"numbers({', '.join(shape)})"


def _highest(array: Array) -> int:
    return int(array.max(initial=0)) if array.dtype.kind in "biu" else 0


def _classes(y: Array) -> int:
    """The number of labels, which are whole numbers from 0.

    Raises:
        DataError: they are not.
    """
    if y.dtype.kind not in "biuf" or (y.size and (y.min() < 0 or (y != np.floor(y)).any())):
        found = f"of dtype {y.dtype}" if y.dtype.kind not in "biuf" else f"such as {y[(y < 0) | (y != np.floor(y))][0]}"
        raise DataError(
            f"y holds labels {found}: expected whole numbers from 0; map them by "
            "np.unique(y, return_inverse=True)[1], or give a table to Population.from_frame, which keeps the labels"
        )
    return int(y.max(initial=0)) + 1


def _catalogue(x: Array) -> int:
    """The number of items, which have dense ids.

    Raises:
        DataError: x holds no ids, or most of the ids up to the highest do not occur.
    """
    if x.dtype.kind not in "iu" or x.ndim != 1 or (x.size and x.min() < 0):
        raise DataError(f"x has shape {x.shape} and dtype {x.dtype}: a ranking expects item ids from 0, one for a row")
    if not _are_dense(x):
        raise DataError(
            f"x holds {len(np.unique(x))} ids up to {_highest(x)}: expected ids from 0 without large gaps; map them "
            f"by np.unique(x, return_inverse=True)[1], or pass spec=Spec.ranking({_highest(x) + 1})"
        )
    return _highest(x) + 1


def _are_dense(x: Array) -> bool:
    """Whether whole numbers begin at 0 or 1 and at least half of those up to the highest occur."""
    return bool(x.min(initial=0) >= 0) and x.min(initial=1) <= 1 and _highest(x) < 2 * len(np.unique(x))


def _ids_in(x: Array, as_ids: str) -> int:
    """One more than the highest id if `x` holds ids; 0 if it holds numbers.

    Raises:
        DataError: it may hold either.
    """
    if x.dtype.kind not in "biu" or not x.size:
        return 0
    low, high = int(x.min()), _highest(x)
    if x.ndim == 1 and x.dtype.kind != "b" and _are_dense(x):
        note(f"x holds one whole number from 0 to {high} for each row: taken as ids; make x float32 for numbers.")
        return high + 1
    if x.dtype.kind != "b" and low >= 0 and _may_be_ids(x):
        raise DataError(
            f"x holds whole numbers from {low} to {high} of shape {x.shape[1:]} for each row, which may be numbers or "
            f"ids: pass x.astype(np.float32) if they are numbers, or spec={as_ids} if they are ids"
        )
    note(f"x has dtype {x.dtype} and is taken as numbers; pass spec={as_ids} if it holds ids.")
    return 0


def _may_be_ids(x: Array) -> bool:
    """Whether whole numbers from 0 may be ids: of the places of a sequence, rather than of a table or a picture."""
    if x.ndim == 1:
        return True
    if x.ndim > 2 or x.dtype == np.uint8 or x.max() <= 1:
        return False
    if x.shape[1] == 1:
        return _are_dense(x)
    highest = x.max()
    return bool(np.median(x.max(0)) >= _ALIKE * highest and (x.min(0) <= (1 - _ALIKE) * highest).all())
