"""The kernel of a function that changes with time: rows of long ago say less about the next one.

The function is the sum of a lasting part and a drifting one, which are independent Gaussian processes with one kernel
in the inputs. `recency` is the drifting part's share of the variance. Its correlation halves with every `half_life`
interactions, as that of an Ornstein-Uhlenbeck process does. A person's last choices then count for more than older
ones, and older ones still count as the person's habit.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["ages", "drift", "drift_to_next"]


def ages(mask: Tensor) -> Tensor:
    """The number of later rows of each row, `[rows]`; rows are oldest first.

    Args:
        mask: `[rows]`, the weight of each row; rows of weight 0 are padding and do not count.
    """
    rows = torch.arange(mask.shape[0], device=mask.device)
    later = (rows.unsqueeze(0) > rows.unsqueeze(1)).to(mask.dtype)
    return later @ (mask > 0).to(mask.dtype)


def drift(age: Tensor, recency: Tensor | float, half_life: Tensor | float) -> Tensor:
    """The factor of the kernel of any two rows, `[rows, rows]`.

    Args:
        age: `[rows]`, from `ages`.
        recency: the drifting part's share of the variance, from 0 to 1; 0 gives a factor of 1.
        half_life: in interactions, above 0.
    """
    return _factor((age.unsqueeze(0) - age.unsqueeze(1)).abs(), recency, half_life)


def drift_to_next(age: Tensor, recency: Tensor | float, half_life: Tensor | float) -> Tensor:
    """The factor of the kernel of each row and the next row to come, `[rows]`; arguments as in `drift`."""
    return _factor(age + 1, recency, half_life)


def _factor(apart: Tensor, recency: Tensor | float, half_life: Tensor | float) -> Tensor:
    return 1 - recency + recency * torch.exp(apart * (-math.log(2)) / half_life)
