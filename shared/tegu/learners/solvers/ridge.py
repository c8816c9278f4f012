"""Ridge regression of several targets on many features, which gradients pass through.

    W = (X' X + ridge I)^-1 X' Y  =  X' (X X' + ridge I)^-1 Y

The second form (Woodbury) inverts a matrix of rows in place of one of features. The inverse is held constant in steps
of refinement: they give the exact first derivative, without that of the inverse's own iterations.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor

from tegu.learners.solvers.inverse import inverse

__all__ = ["ridge_weights"]

_REFINEMENTS = 2  # the first gives the derivative, and each restores float32 digits of what was before


def ridge_weights(features: Tensor, targets: Tensor, mask: Tensor, ridge: Tensor | float) -> Tensor:
    """The weights `[features, targets]` that minimise `sum of mask * residual^2 + ridge * sum of weights^2`.

    The Woodbury form is used for fewer rows than features, and in a graph, whose number of rows is not known.

    Args:
        features: `[rows, features]`.
        targets: `[rows, targets]`.
        mask: `[rows]`, the weight of each row, from 0 to 1; 0 marks padding, which has no effect.
        ridge: above 0.
    """
    # The root has no derivative at 0, and padding has no weight to learn from.
    root = torch.where(mask > 0, mask, 1.0).sqrt().unsqueeze(-1) * (mask > 0).to(mask.dtype).unsqueeze(-1)
    # One row of zeros more: there may be none.
    rows, wanted = (F.pad(values * root, [0, 0, 0, 1]) for values in (features, targets))
    count, width = features.shape
    if type(count) is int and count >= width:
        return _solve(rows.T @ rows, rows.T @ wanted, ridge)
    return rows.T @ _solve(rows @ rows.T, wanted, ridge)


def _solve(matrix: Tensor, targets: Tensor, ridge: Tensor | float) -> Tensor:
    """The x of `(matrix + ridge I) x = targets`, for a matrix without negative eigenvalues."""
    size = torch.arange(matrix.shape[0], device=matrix.device)
    identity = (size.unsqueeze(0) == size.unsqueeze(1)).to(matrix.dtype)
    system = matrix + ridge * identity
    inverted = inverse(system.detach(), identity)
    solved = (inverted @ targets).detach()
    for _ in range(_REFINEMENTS):
        solved = solved + inverted @ (targets - system @ solved)
    return solved
