"""A batched matrix product that broadcasts without copying, as ONNX's MatMul does."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["PRODUCT", "product"]


@torch.library.custom_op("tegu::product", mutates_args=())
def _product(a: Tensor, b: Tensor) -> Tensor:
    return torch.matmul(a, b)


@_product.register_fake
def _(a: Tensor, b: Tensor) -> Tensor:
    lead = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])  # type: ignore[no-untyped-call] # torch does not annotate it
    return a.new_empty((*lead, a.shape[-2], b.shape[-1]))


def product(a: Tensor, b: Tensor) -> Tensor:
    """`torch.matmul` as one operator: recorded as it is, torch expands and reshapes both factors to one batch axis.

    Use it in decompositions only, since it has no gradient.
    """
    result: Tensor = _product(a, b)
    return result


PRODUCT = torch.ops.tegu.product.default
"""The operator, as a recording has it."""
