"""Normalisation over features, in plain arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor

from tegu.learners.operators.linear import matmul

__all__ = ["batch_norm", "group_norm", "instance_norm", "layer_norm", "local_response_norm", "rms_norm"]


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
    if groups == 1:  # without a reshape, which would copy an image whose channels are innermost
        result = _normalised(x, list(range(1, x.dim())), eps)
    else:
        result = _normalised(x.reshape(x.shape[0], groups, -1), [-1], eps).reshape(x.shape)
    channels = (-1, *(1 for _ in x.shape[2:]))
    result = result if weight is None else result * weight.reshape(channels)
    return result if bias is None else result + bias.reshape(channels)


def batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`F.batch_norm` with running statistics; they do not change."""
    if training or running_mean is None or running_var is None:
        return F.batch_norm(x, running_mean, running_var, weight, bias, training, momentum or 0.0, eps)
    factor = torch.rsqrt(running_var + eps)
    factor = factor if weight is None else factor * weight
    shift = -running_mean * factor if bias is None else bias - running_mean * factor
    channels = (-1, *(1 for _ in x.shape[2:]))
    return x * factor.reshape(channels) + shift.reshape(channels)


def instance_norm(
    x: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`F.instance_norm`."""
    if not use_input_stats:
        return batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    return group_norm(x, x.shape[1], weight, bias, eps)


def local_response_norm(x: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """`F.local_response_norm`: the sum of squares over near channels is a product with a band of ones."""
    channel = torch.arange(x.shape[1], device=x.device)
    distance = channel - channel.unsqueeze(1)
    near = ((distance >= -(size // 2)) & (distance <= (size - 1) // 2)).to(x.dtype)
    sums = matmul(x.square().movedim(1, -1), near.T).movedim(-1, 1)
    return x / (k + alpha / size * sums) ** beta
