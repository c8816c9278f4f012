"""Kernel ridge regression on a few rows, with matrix products alone, so that any runtime can compute it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["RidgeFit", "differentiable_weights", "fit", "inverse", "kernel", "unit_length"]

_ITERATIONS = 22  # enough for condition numbers up to a million, in float32
_RBF_WIDTH = 0.25


class RidgeFit(NamedTuple):
    """A fitted kernel ridge regression.

    Attributes:
        weights: `[rows, targets]`; the fitted function at x is kernel(x, rows) weights.
        loo_residuals: `[rows, targets]`, leave-one-out residuals: each row's residual under the fit to the other rows,
            times the square root of its mask.
    """

    weights: Tensor
    loo_residuals: Tensor


def unit_length(features: Tensor) -> Tensor:
    """Rows `[rows, width]` scaled to length 1; rows of zeros are unchanged."""
    return features / (features.square().sum(-1, keepdim=True) + 1e-12).sqrt()


def kernel(a: Tensor, b: Tensor, mix: Tensor | float) -> Tensor:
    """The kernel of rows of length 1, `[rows of a, rows of b]`: `mix` times cosine + (1 - `mix`) times RBF kernel."""
    cosine = a @ b.T
    return mix * cosine + (1 - mix) * torch.exp((cosine - 1) / _RBF_WIDTH)


def fit(kernel_matrix: Tensor, targets: Tensor, mask: Tensor, ridge: Tensor | float) -> RidgeFit:
    """Kernel ridge regression of `targets` on rows: minimises `sum of mask * residual^2 + ridge * |function|^2`.

    This equals the unweighted regression of rows that are multiplied by the square root of their mask.

    Args:
        kernel_matrix: `[rows, rows]`.
        targets: `[rows, targets]`.
        mask: `[rows]`, the weight of each row, from 0 to 1; 0 marks padding, which has no effect.
        ridge: added to the diagonal of the kernel matrix; above 0.
    """
    root, identity, matrix = _system(kernel_matrix, mask, ridge)
    inverted, weighted = inverse(matrix, identity), targets * root.unsqueeze(1)
    solved = inverted @ weighted
    solved = solved + inverted @ (weighted - matrix @ solved)  # restores float32 digits that repeated rows cancel
    return RidgeFit(solved * root.unsqueeze(1), solved / (inverted * identity).sum(1, keepdim=True))


def differentiable_weights(kernel_matrix: Tensor, targets: Tensor, mask: Tensor, ridge: Tensor | float) -> Tensor:
    """`RidgeFit.weights`, for training through the fit. The arguments are those of `fit`; the mask gets no gradient.

    The gradient of a solution w = A^-1 b follows from A w = b, and the iterations that find A^-1 need none. The last
    step, w + A^-1 (b - A w) with A^-1 and the earlier w held constant, has exactly this gradient.
    """
    root, identity, matrix = _system(kernel_matrix, mask.detach(), ridge)
    inverted, weighted = inverse(matrix.detach(), identity), targets * root.unsqueeze(1)
    solved = (inverted @ weighted).detach()
    solved = solved + inverted @ (weighted - matrix @ solved)
    return solved * root.unsqueeze(1)


def _system(kernel_matrix: Tensor, mask: Tensor, ridge: Tensor | float) -> tuple[Tensor, Tensor, Tensor]:
    """The square root of the mask, the identity, and the matrix to invert."""
    rows = torch.arange(mask.shape[0], device=mask.device)
    identity = (rows.unsqueeze(0) == rows.unsqueeze(1)).to(kernel_matrix.dtype)
    root = mask.sqrt()
    return root, identity, kernel_matrix * root * root.unsqueeze(1) + ridge * identity


def inverse(matrix: Tensor, identity: Tensor) -> Tensor:
    """The inverse of a positive definite matrix by Newton-Schulz iteration: each step squares the error.

    Schulz, "Iterative Berechnung der reziproken Matrix", ZAMM 13, 1933.

    Args:
        matrix: `[rows, rows]`.
        identity: `[rows, rows]`.
    """
    found = identity / matrix.abs().sum(1).amax(0)
    for _ in range(_ITERATIONS):
        found = torch.addmm(found, found, matrix @ found, beta=2, alpha=-1)
    return found
