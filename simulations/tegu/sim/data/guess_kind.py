"""What targets are for: labels or numbers, guessed only where one of them is plausible."""

from __future__ import annotations

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.spec import Kind
from tegu.core.errors import DataError
from tegu.core.notes import note

__all__ = ["guess_kind"]

_MOST_CLASSES = 1000
_ROWS_PER_CLASS = 5  # on average; numbers such as prices have few rows for each value
_CHOICE = "pass kind='classification' if they are labels, or kind='regression' if they are numbers, such as"
_EXAMPLES = "prices, counts or stars"


def guess_kind(name: str, y: Array) -> Kind:
    """What targets are for. A guess is printed as a note.

    Text and booleans are labels, rows of 0 and 1 are several labels, and real numbers are targets of a regression.
    Whole numbers are labels if they have few values, without a gap from 0, and many rows for each. So are the real
    numbers 0.0 and 1.0 where there are no others.

    Args:
        name: of the targets, for messages.
        y: `[rows]`, or `[rows, targets]`.

    Raises:
        DataError: they may be labels or numbers.
    """
    if y.dtype.kind not in "iuf" and y.shape[1:] in ((), (1,)):
        return "classification"
    if not y.size:
        return "regression"
    if y.ndim > 1 and y.shape[1:] != (1,):
        return _of_several(name, y)
    values, counts = np.unique(y, return_counts=True)
    if y.dtype.kind == "f":
        return _of_real_numbers(name, values, counts)
    reason = _why_no_labels(values, counts)
    if reason:
        raise DataError(
            f"{name} holds {len(values)} different whole numbers from {values[0]} to {values[-1]}, and {reason}: "
            f"{_CHOICE} {_EXAMPLES}"
        )
    note(f"{name} holds the whole numbers 0 to {values[-1]}: taken as labels; pass kind='regression' for numbers.")
    return "classification"


def _of_several(name: str, y: Array) -> Kind:
    if y.dtype.kind not in "biuf" or y.ndim > 2 or not ((y == 0) | (y == 1)).all():
        return "regression"
    if (y.sum(1) == 1).all():
        raise DataError(
            f"{name} holds one 1 in each row of {y.shape[1]}: pass {name}.argmax(1) for one label a row, or "
            "kind='multilabel' for any number of labels"
        )
    note(f"{name} holds rows of {y.shape[1]} 0s and 1s: taken as any number of labels; kind='regression' says numbers.")
    return "multilabel"


def _of_real_numbers(name: str, values: Array, counts: Array) -> Kind:
    if len(values) != 2 or counts.min() < _ROWS_PER_CLASS or not (values == np.floor(values)).all():
        return "regression"
    if values.tolist() == [0, 1]:
        note(f"{name} holds 0.0 and 1.0 alone: taken as labels; pass kind='regression' for numbers.")
        return "classification"
    raise DataError(f"{name} holds {values[0]} and {values[1]} alone: {_CHOICE} {_EXAMPLES}")


def _why_no_labels(values: Array, counts: Array) -> str | None:
    """Why whole numbers are perhaps no labels; None if they plausibly are."""
    low, high, rows, different = int(values[0]), int(values[-1]), int(counts.sum()), len(values)
    doubts = {
        "some are negative": low < 0,
        f"they begin at {low}": low > 0,
        f"{high - low + 1 - different} between them do not occur": different <= high - low,
        "all are equal": different == 1,
        "these are many for labels": different > _MOST_CLASSES,
        f"{values[counts.argmin()]} occurs once": different > 2 and counts.min() < 2,
        f"there are {rows} rows, few for so many labels": different > 2 and rows < _ROWS_PER_CLASS * different,
    }
    return next((doubt for doubt, holds in doubts.items() if holds), None)
