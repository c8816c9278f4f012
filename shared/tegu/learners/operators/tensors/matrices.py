"""Layers of two inputs, and functions of matrices, by products."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["bilinear", "cdist", "householder_product", "inverse", "matrix_exp", "solve"]

_HALVINGS, _TERMS = 6, 10  # exact in float32 for matrices of norms up to 64


def bilinear(first: Tensor, second: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.bilinear`: a linear function of all products of two inputs."""
    products = (first.unsqueeze(-1) * second.unsqueeze(-2)).flatten(-2)
    result = products @ weight.flatten(1).T
    return result if bias is None else result + bias


def cdist(first: Tensor, second: Tensor, p: float = 2.0, compute_mode: str | None = None) -> Tensor:
    """`torch.cdist`; as there, the distance of equal points has the gradient 0."""
    del compute_mode
    difference = first.unsqueeze(-2) - second.unsqueeze(-3)
    if p == 2:
        squares = difference.square().sum(-1)
        apart = squares > 0
        distance: Tensor = torch.sqrt(torch.where(apart, squares, 1.0)) * apart.to(squares.dtype)
    else:
        distance = torch.linalg.vector_norm(difference, p, -1)
    return distance


def householder_product(vectors: Tensor, scales: Tensor) -> Tensor:
    """`torch.linalg.householder_product`: `(I - t1 v1 v1') (I - t2 v2 v2') ...`, its first columns.

    Args:
        vectors: `[..., rows, columns]`, of which the part below the diagonal counts.
        scales: `[..., count]`.
    """
    rows, columns = vectors.shape[-2:]
    unit = torch.eye(rows, columns, dtype=vectors.dtype, device=vectors.device)
    below = vectors * torch.ones_like(unit).tril(-1) + unit
    result = unit
    for i in reversed(range(scales.shape[-1])):
        vector = below[..., i].unsqueeze(-1)
        result = result - scales[..., i, None, None] * vector @ (vector.transpose(-1, -2) @ result)
    return result


def matrix_exp(matrix: Tensor) -> Tensor:
    """`torch.matrix_exp`, by a series for a part of the matrix, squared again and again."""
    part = matrix / 2**_HALVINGS
    unit = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    result = unit
    for i in range(_TERMS, 0, -1):  # Horner's scheme
        result = unit + part @ result / i
    for _ in range(_HALVINGS):
        result = result @ result
    return result


def inverse(matrix: Tensor) -> Tensor:
    """`torch.linalg.inv`, by Gauss-Jordan elimination with the largest pivot of each column."""
    return solve(matrix, torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device))


def solve(matrix: Tensor, targets: Tensor) -> Tensor:
    """`torch.linalg.solve`: the solution of `matrix @ solution = targets`.

    Each step divides the row of the largest entry of a column by it and takes multiples of it from all other rows. Rows
    stay in their place; the order in which they were chosen gives their place in the solution.
    """
    size = matrix.shape[-1]
    vector = targets.dim() == matrix.dim() - 1
    right = targets.unsqueeze(-1) if vector else targets
    free = torch.ones(matrix.shape[:-1], dtype=matrix.dtype, device=matrix.device)
    places = torch.arange(size, device=matrix.device)
    chosen = []
    for i in range(size):
        column = matrix[..., i]
        pivot = (column.detach().abs() * free - (1 - free)).argmax(-1, keepdim=True)
        own = (places == pivot).to(matrix.dtype)  # one-hot
        row, target = (own.unsqueeze(-2) @ part for part in (matrix, right))
        scale = (column * own).sum(-1)[..., None, None]
        row, target = row / scale, target / scale
        rest = (column * (1 - own)).unsqueeze(-1)
        others = (1 - own).unsqueeze(-1)
        matrix = matrix * others - rest * row + own.unsqueeze(-1) * row
        right = right * others - rest * target + own.unsqueeze(-1) * target
        free = free * (1 - own)
        chosen.append(own)
    result = torch.stack(chosen, -2) @ right
    return result.squeeze(-1) if vector else result
