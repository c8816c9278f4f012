"""The inverse of a small matrix by matrix products alone, so that any runtime can compute it."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["inverse"]

_ITERATIONS = 22  # enough for condition numbers up to a million, in float32


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
