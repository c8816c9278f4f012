"""The share of a correction that a device applies to its user, by the user's own leave-one-out improvement."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from tegu.core.calibration.guard import Guard

__all__ = ["shrinkage"]


def shrinkage(own: Guard[Any], loo_improvement: Tensor) -> Tensor:
    """The share of a correction that is kept, from `floor` to 1; `residual_correction` has the formula.

    Args:
        own: the guard; its fields are numbers or scalar tensors.
        loo_improvement: a scalar.
    """
    score = (own.intercept + own.slope * loo_improvement) / own.residual_sd
    probability = 0.5 * (1 + torch.erf(score / math.sqrt(2)))
    unguarded = torch.as_tensor(own.guard == 0).to(loo_improvement.dtype)
    confidence = (own.guard * (probability - 0.5) + unguarded).clamp(0.0, 1.0)
    kept: Tensor = own.floor + (1 - own.floor) * confidence
    return kept
