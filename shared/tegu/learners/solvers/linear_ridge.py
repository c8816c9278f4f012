"""Ridge regression on a few features, with a penalty for each, by matrix products alone.

It costs the square of the number of features for each row, where the kernel form (`ridge`) costs the cube of the rows.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tegu.learners.solvers.inverse import inverse

__all__ = ["LinearFit", "fit_linear"]

_MIN_LEFT = 1e-3  # of a row's own influence that a leave-one-out residual divides by


class LinearFit(NamedTuple):
    """A fitted ridge regression.

    Attributes:
        weights: `[features]`.
        inverse: `[features, features]`, the inverse of `features' features + penalties`. Times the variance of the
            noise it is the posterior covariance of the weights.
        loo_residuals: `[rows]`, each row's residual under the fit to the other rows, times the square root of its mask.
    """

    weights: Tensor
    inverse: Tensor
    loo_residuals: Tensor


def fit_linear(features: Tensor, targets: Tensor, mask: Tensor, penalties: Tensor) -> LinearFit:
    """The weights that minimise `sum of mask * residual^2 + sum of penalties * weights^2`.

    Args:
        features: `[rows, features]`.
        targets: `[rows]`.
        mask: `[rows]`, the weight of each row, from 0 to 1; 0 marks padding, which has no effect.
        penalties: `[features]`, above 0.
    """
    root = mask.sqrt()
    rows, wanted = features * root.unsqueeze(-1), targets * root
    columns = torch.arange(features.shape[-1], device=features.device)
    identity = (columns.unsqueeze(0) == columns.unsqueeze(1)).to(features.dtype)
    matrix = rows.T @ rows + identity * penalties
    inverted = inverse(matrix, identity)
    moments = wanted @ rows
    weights = moments @ inverted
    weights = weights + (moments - weights @ matrix) @ inverted  # restores float32 digits
    influence = ((rows @ inverted) * rows).sum(-1)
    return LinearFit(weights, inverted, (wanted - rows @ weights) / (1 - influence).clamp(min=_MIN_LEFT))
