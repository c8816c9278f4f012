"""What users pass as arrays, as numpy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.errors import DataError

__all__ = ["as_array"]


def as_array(name: str, value: Any) -> Array:
    """`value` as a numpy array. Torch tensors give their values, wherever they lie.

    Args:
        name: of the value, for error messages.
        value: an array, a torch tensor, or lists of numbers.

    Raises:
        DataError: rows have different lengths, a tensor is sparse, or numpy cannot read what it is for another reason.
    """
    try:
        return np.asarray(_detached(name, value))
    except (ValueError, TypeError, OverflowError, RuntimeError) as error:  # the last from lists of tensors
        raise DataError(f"{name} is not an array ({error}): give numbers, and every row the same shape") from error


def _detached(name: str, value: Any) -> Any:
    """A torch tensor without its gradient, in memory and in a dtype of numpy; any other value unchanged."""
    if not (hasattr(value, "detach") and hasattr(value, "layout")):
        return value
    if str(value.layout) != "torch.strided":
        raise DataError(f"{name} is a tensor with the layout {value.layout}: expected a dense one; call to_dense()")
    dense = value.detach().cpu()
    return dense.float() if str(dense.dtype) == "torch.bfloat16" else dense
