"""The kernel of rows of length 1."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["kernel", "unit_length"]

_RBF_WIDTH = 0.25


def unit_length(features: Tensor) -> Tensor:
    """Rows `[rows, width]` scaled to length 1; rows of zeros are unchanged."""
    return features / (features.square().sum(-1, keepdim=True) + 1e-12).sqrt()


def kernel(a: Tensor, b: Tensor, mix: Tensor | float) -> Tensor:
    """The kernel of rows of length 1, `[rows of a, rows of b]`: `mix` times cosine + (1 - `mix`) times RBF kernel."""
    cosine = a @ b.T
    return mix * cosine + (1 - mix) * torch.exp((cosine - 1) / _RBF_WIDTH)
