"""Replacements for operators that torch.onnx cannot translate, or that ONNX Runtime runs slowly."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._decomp import core_aten_decompositions

from tegu.compile.operators import allocations, pooling, statistics, strided
from tegu.compile.operators.convolution import dispatch

__all__ = ["STRIDED", "decomposition_table"]

STRIDED: dict[Any, Callable[..., Any]] = {
    torch.ops.aten.as_strided.default: strided.as_strided,
    torch.ops.aten.as_strided_scatter.default: strided.as_strided_scatter,
}


def decomposition_table(views: bool = False) -> dict[Any, Callable[..., Any]]:
    """Torch's core table with the entries of this package.

    Args:
        views: keep views by strides as they are, as what is recorded may write to them.
    """
    aten = torch.ops.aten
    return {
        **_core(),
        aten.convolution.default: dispatch.convolution,
        aten.convolution_backward.default: dispatch.convolution_backward,
        aten.max_pool2d_with_indices.default: pooling.max_pool2d,
        aten.max_pool2d_with_indices_backward.default: pooling.max_pool2d_backward,
        aten.avg_pool2d_backward.default: pooling.avg_pool2d_backward,
        aten._adaptive_avg_pool2d.default: pooling.adaptive_avg_pool2d,
        aten._adaptive_avg_pool2d_backward.default: pooling.adaptive_avg_pool2d_backward,
        aten.empty_permuted.default: allocations.empty_permuted,
        aten.empty_strided.default: allocations.empty_strided,
        aten.new_empty_strided.default: allocations.new_empty_strided,
        **({} if views else STRIDED),
        aten.var.correction: statistics.var,
        aten.var_mean.correction: statistics.var_mean,
        aten.bucketize.Tensor: statistics.bucketize,
        aten.searchsorted.Tensor: statistics.searchsorted,
        aten.pow.Tensor_Scalar: _power,
        aten.squeeze.dims: _squeeze,
        aten.threshold_backward.default: _threshold_backward,
    }


@functools.cache
def _core() -> dict[Any, Callable[..., Any]]:
    table = dict[Any, Callable[..., Any]](core_aten_decompositions())
    table.pop(torch.ops.aten.squeeze.dim, None)  # its entry gives squeeze.dims, which has no translation
    return table


def _threshold_backward(grad: Tensor, x: Tensor, threshold: float) -> Tensor:
    """The gradient of ReLU, by multiplication. ONNX Runtime takes ten times as long for a Where."""
    return grad * (x > threshold).to(grad.dtype)


def _power(x: Tensor, exponent: float) -> Any:
    """Squares by multiplication, and first powers by a copy. ONNX Runtime's Pow takes thirty times as long."""
    if exponent == 1:
        return x.clone()
    return x * x if exponent == 2 else NotImplemented


def _squeeze(x: Tensor, dims: Sequence[int]) -> Tensor:
    """One axis at a time, the last first."""
    for dim in sorted((dim % x.dim() for dim in dims), reverse=True):
        if x.shape[dim] == 1:
            x = torch.ops.aten.squeeze.dim(x, dim)
    return x
