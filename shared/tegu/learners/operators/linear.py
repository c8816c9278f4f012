"""Linear layers and matrix products on inputs with any number of axes.

Torch flattens the leading axes of such an input itself, in code that asks for sizes as plain numbers: under
`torch.func.vmap` it fails, and elsewhere it fixes the number of rows in a graph.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor

__all__ = ["linear", "matmul"]


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear`: `[..., in]`, `[out, in]` and `[out]` -> `[..., out]`.

    An input with more than two axes is flattened to vectors. Its layer is then no call of `F.linear`, as it has no one
    vector a row: see `modules.features` and `inner_loop.dual_steps`.
    """
    if x.dim() <= 2:
        return F.linear(x, weight, bias)
    vectors, columns = x.reshape(-1, x.shape[-1]), weight.t()
    product = torch.mm(vectors, columns) if bias is None else torch.addmm(bias, vectors, columns)
    return product.reshape(*x.shape[:-1], weight.shape[0])


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """`torch.matmul`; `[..., rows, n]` by `[n, columns]` is one product of flattened vectors."""
    if a.dim() <= 2 or b.dim() != 2:
        return torch.matmul(a, b)
    return torch.mm(a.reshape(-1, a.shape[-1]), b).reshape(*a.shape[:-1], b.shape[-1])
