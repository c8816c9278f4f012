"""Activations whose fused forms have gradients that `vmap` or torch.onnx cannot take."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor

from tegu.core.errors import CompileError

__all__ = ["gelu", "glu", "mish", "rrelu", "silu"]


def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """`F.gelu`."""
    if approximate == "tanh":
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    return 0.5 * x * (1 + torch.erf(x * math.sqrt(0.5)))


def glu(x: Tensor, dim: int = -1) -> Tensor:
    """`F.glu`; not by `chunk`, whose gradient batched over users by `vmap` fixes the number of users."""
    axis = dim % x.dim()
    value, gate = x.reshape(*x.shape[:axis], 2, x.shape[axis] // 2, *x.shape[axis + 1 :]).unbind(axis)
    return value * torch.sigmoid(gate)


def silu(x: Tensor, inplace: bool = False) -> Tensor:
    """`F.silu`."""
    return _applied(lambda given: given * torch.sigmoid(given), x, inplace)


def mish(x: Tensor, inplace: bool = False) -> Tensor:
    """`F.mish`."""
    return _applied(lambda given: given * torch.tanh(F.softplus(given)), x, inplace)


def rrelu(
    x: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """`F.rrelu` in evaluation: a leaky ReLU of the mean slope.

    Raises:
        CompileError: `training` is True.
    """
    if training:
        raise CompileError("rrelu draws slopes at random in training: call model.eval(), or use leaky_relu")
    return F.leaky_relu(x, (lower + upper) / 2, inplace)


def _applied(function: Callable[[Tensor], Tensor], x: Tensor, inplace: bool) -> Tensor:
    # The gradient needs the input as it was.
    return x.copy_(function(x.clone())) if inplace else function(x)
