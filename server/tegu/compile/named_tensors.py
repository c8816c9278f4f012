"""Types of the functions that are compiled: they take and return tensors by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from torch import Tensor

__all__ = ["Function", "Named"]

Named: TypeAlias = Mapping[str, Tensor]
Function: TypeAlias = Callable[[Named], Named]
