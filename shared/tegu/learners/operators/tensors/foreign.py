"""Results that no graph of Tegu can hold: complex numbers and sparse tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from tegu.core.errors import CompileError

__all__ = ["refuse_foreign"]

T = TypeVar("T")


def refuse_foreign(function: Callable[..., Any], result: T) -> T:
    """Return `result`, what `function` gave.

    Raises:
        CompileError: it is complex or sparse.
    """
    if isinstance(result, Tensor) and (result.dtype.is_complex or result.layout != torch.strided):
        kind = "complex numbers" if result.dtype.is_complex else "a sparse tensor"
        name = getattr(function, "__name__", str(function))
        raise CompileError(f"{name} gives {kind}, which has no compiled form: use real numbers in a dense tensor")
    return result
