"""Products of one matrix per user, recorded as one operator.

Torch writes the product of two stacks of matrices for any shapes that broadcast: it expands and reshapes both stacks,
multiplies, and reshapes the result. Each of these views takes as long to record as the product. Where both stacks are
equally long, as under `torch.vmap`, the product alone is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._C import DispatchKey
from torch.fx.experimental.symbolic_shapes import guard_or_false

__all__ = ["plain_batched_products"]

_MATMUL = torch.ops.aten.matmul.default
_KEY = DispatchKey.CompositeImplicitAutograd


@contextmanager
def plain_batched_products() -> Iterator[None]:
    """Within this context, recordings hold `bmm` alone for two stacks of equally many matrices."""
    given: Callable[..., Any] = _MATMUL.py_kernels[_KEY]

    def product(a: Tensor, b: Tensor, **options: Any) -> Any:
        if a.dim() == b.dim() == 3 and not options and guard_or_false(a.shape[0] == b.shape[0]):
            return torch.bmm(a, b)
        return given(a, b, **options)

    _use(product)
    try:
        yield
    finally:
        _use(given)


def _use(kernel: Callable[..., Any]) -> None:
    _MATMUL.py_kernels[_KEY] = kernel
    _MATMUL._dispatch_cache.clear()
