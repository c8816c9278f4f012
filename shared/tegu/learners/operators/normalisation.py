"""Normalisation over features, in plain arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["group_norm", "layer_norm", "local_response_norm", "rms_norm"]


def _normalised(x: Tensor, axes: list[int], eps: float) -> Tensor:
    centred = x - x.mean(axes, keepdim=True)
    spread: Tensor = torch.sqrt(centred.square().mean(axes, keepdim=True) + eps)
    return centred / spread


def layer_norm(
    x: Tensor, shape: Sequence[int], weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """`F.layer_norm`."""
    result = _normalised(x, [-1 - axis for axis in range(len(shape))], eps)
    result = result if weight is None else result * weight
    return result if bias is None else result + bias


def rms_norm(x: Tensor, shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    """`F.rms_norm`."""
    squares = x.square().mean([-1 - axis for axis in range(len(shape))], keepdim=True)
    result = x / torch.sqrt(squares + (torch.finfo(x.dtype).eps if eps is None else eps))
    return result if weight is None else result * weight


def group_norm(
    x: Tensor, groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """`F.group_norm`."""
    result = _normalised(x.reshape(x.shape[0], groups, -1), [-1], eps).reshape(x.shape)
    channels = (-1, *(1 for _ in x.shape[2:]))
    result = result if weight is None else result * weight.reshape(channels)
    return result if bias is None else result + bias.reshape(channels)


def local_response_norm(x: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """`F.local_response_norm`: the sum of squares over near channels is a product with a band of ones."""
    channel = torch.arange(x.shape[1], device=x.device)
    distance = channel - channel.unsqueeze(1)
    near = ((distance >= -(size // 2)) & (distance <= (size - 1) // 2)).to(x.dtype)
    sums = (x.square().movedim(1, -1) @ near.T).movedim(-1, 1)
    return x / (k + alpha / size * sums) ** beta
