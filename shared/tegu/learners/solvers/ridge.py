"""Kernel ridge regression on a handful of rows, in products of matrices alone, so that any runtime computes it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Fit", "fit", "kernel", "normalised"]

_ITERATIONS = 22  # condition numbers up to a million, in float32
_WIDTH = 0.25


class Fit(NamedTuple):
    """A regression.

    Attributes:
        weights: `[rows, targets]`; the fitted function at x is kernel(x, rows) weights.
        left_out: `[rows, targets]`, each row's residual where it is left out of the fit, times the root of its mask.
    """

    weights: Tensor
    left_out: Tensor


def normalised(features: Tensor) -> Tensor:
    """Rows of length 1; a row of zeros stays."""
    return features / (features.square().sum(-1, keepdim=True) + 1e-12).sqrt()


def kernel(a: Tensor, b: Tensor, mix: Tensor | float) -> Tensor:
    """Likeness of rows of length 1: `mix` times their cosine and the rest an RBF of it; `[rows of a, rows of b]`."""
    cosine = a @ b.T
    return mix * cosine + (1 - mix) * torch.exp((cosine - 1) / _WIDTH)


def fit(likeness: Tensor, targets: Tensor, mask: Tensor, ridge: Tensor | float) -> Fit:
    """Kernel ridge regression of `targets` on rows: the least `sum of mask * residual^2 + ridge * |function|^2`.

    It is the plain regression of rows that are multiplied by the root of their mask.

    Args:
        likeness: `[rows, rows]`, the kernel.
        targets: `[rows, targets]`.
        mask: `[rows]`, what each row counts for: 1, or a part of it; 0 for padding, which gets no weight.
        ridge: what is added to the kernel's diagonal, above 0.
    """
    rows = torch.arange(mask.shape[0], device=mask.device)
    identity = (rows.unsqueeze(0) == rows.unsqueeze(1)).to(likeness.dtype)
    root = mask.sqrt()
    matrix = likeness * root * root.unsqueeze(1) + ridge * identity
    inverse, wanted = _inverse(matrix, identity), targets * root.unsqueeze(1)
    solved = inverse @ wanted
    solved = solved + inverse @ (wanted - matrix @ solved)  # rows that repeat cancel, and float32 loses digits by it
    return Fit(solved * root.unsqueeze(1), solved / (inverse * identity).sum(1, keepdim=True))


def _inverse(matrix: Tensor, identity: Tensor) -> Tensor:
    """Of a positive definite matrix, by the iteration of Newton and Schulz: each step squares the error.

    Schulz, "Iterative Berechnung der reziproken Matrix", ZAMM 13, 1933.
    """
    inverse = identity / matrix.abs().sum(1).amax(0)
    for _ in range(_ITERATIONS):
        inverse = 2 * inverse - inverse @ (matrix @ inverse)
    return inverse
