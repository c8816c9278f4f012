"""Torch's default dtype: graphs hold float32, whatever a program has set for itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["float32_by_default"]


@contextmanager
def float32_by_default() -> Iterator[None]:
    """Make float32 torch's default dtype, and restore the program's. Nothing is touched if it is float32 already."""
    own = torch.get_default_dtype()
    if own is torch.float32:
        yield
        return
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(own)
