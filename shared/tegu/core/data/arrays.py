"""What users pass as arrays, as numpy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.errors import DataError

__all__ = ["as_array", "check_numbers"]

_FIXES = {
    "c": "expected real numbers; give real and imaginary parts as two features",
    "M": "expected numbers; subtract an origin and divide by a unit, or give a table to Population.from_frame",
    "m": "expected numbers; divide by a unit, such as np.timedelta64(1, 's')",
    "U": "expected numbers; map words to codes, or give a table to Population.from_frame, which keeps them",
    "S": "expected numbers; map words to codes, or give a table to Population.from_frame, which keeps them",
}


def as_array(name: str, value: Any) -> Array:
    """`value` as a numpy array. Torch tensors give their values, wherever they lie, with or without a gradient.

    Args:
        name: of the value, for error messages.
        value: an array, a torch tensor, or lists of numbers.

    Raises:
        DataError: rows have different lengths, a tensor is sparse, or numpy cannot read what it is for another reason.
    """
    try:
        return np.asarray(_detached(name, value))
    except (ValueError, TypeError, OverflowError, RuntimeError) as error:
        raise DataError(f"{name} is not an array ({error}): give every row the same shape") from error


def _detached(name: str, value: Any) -> Any:
    """A torch tensor without its gradient, in memory and in a dtype of numpy; any other value unchanged."""
    if hasattr(value, "toarray"):  # scipy's sparse matrices
        raise DataError(f"{name} is a sparse {type(value).__name__}: expected a dense array; call toarray()")
    if isinstance(value, list | tuple):
        return [_detached(name, each) for each in value] if any(hasattr(each, "detach") for each in value) else value
    if not (hasattr(value, "detach") and hasattr(value, "layout")):  # known by name: the device has no torch
        return value
    if str(value.layout) != "torch.strided":
        raise DataError(f"{name} is a tensor with the layout {value.layout}: expected a dense one; call to_dense()")
    dense = value.detach().cpu().resolve_conj().resolve_neg()
    return (dense.float() if str(dense.dtype) == "torch.bfloat16" else dense).numpy()


def check_numbers(name: str, array: Array) -> None:
    """Check that an array holds real numbers, booleans or whole numbers.

    Raises:
        DataError: it holds other values.
    """
    if array.dtype.kind in "biuf":
        return
    fix = _FIXES.get(array.dtype.kind, "expected numbers; call astype(np.float32)")
    if array.dtype.kind == "O" and array.size:
        kinds = sorted({type(each).__name__ for each in array.ravel()[:1000].tolist()})
        fix = f"{' and '.join(kinds)}: {_object_fix(kinds)}"
        raise DataError(f"{name} has dtype object and holds entries of type {fix}")
    raise DataError(f"{name} has dtype {array.dtype}: {fix}")


def _object_fix(kinds: list[str]) -> str:
    if kinds == ["int"]:
        return "expected numbers of 64 bits; map larger ids to codes, by np.unique(ids, return_inverse=True)[1]"
    if "NoneType" in kinds or "NAType" in kinds:
        return "expected a number in every place; drop or impute rows with gaps, or use Population.from_frame"
    if "list" in kinds or "ndarray" in kinds or "tuple" in kinds:
        return "expected rows of one length; pad them, and give their mask as a second input"
    if "str" in kinds:
        return "expected numbers; map words to codes, or give a table to Population.from_frame, which keeps them"
    return "expected numbers; call astype(np.float32)"
