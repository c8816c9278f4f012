"""How far each of several initialisations is responsible for a user: soft assignments by the loss of the user's rows.

With L the mean loss of n rows under an initialisation, their log-likelihood is -n L where the loss is one already
(cross-entropy, the softmax of a ranking), and -n/2 log L where it is a square with a unit: the Gaussian whose variance
is the user's own and fits best. Responsibilities are prior shares times likelihoods, scaled to add up to 1.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from tegu.core.data.spec import Kind

__all__ = ["fits", "left_out", "shares"]

_LEAST = 1e-10  # of a mean square: rows told exactly would be infinitely likely


def fits(kind: Kind, losses: Sequence[Tensor], mask: Tensor) -> list[Tensor]:
    """The log-likelihood of a user's rows under each initialisation, scalars; 0 without a row.

    Args:
        kind: of problem.
        losses: of each initialisation, `[rows]`.
        mask: `[rows]`.
    """
    return [_fit(kind, (each * mask).sum(), mask.sum()) for each in losses]


def left_out(kind: Kind, losses: Sequence[Tensor], mask: Tensor) -> list[Tensor]:
    """As `fits`, for each row what the others say, `[rows]`."""
    return [_fit(kind, (each * mask).sum() - each * mask, mask.sum() - mask) for each in losses]


def _fit(kind: Kind, total: Tensor, rows: Tensor) -> Tensor:
    if kind != "regression":
        return -total
    return -0.5 * rows * torch.log((total / rows.clamp(min=1)).clamp(min=_LEAST))


def shares(scores: Sequence[Tensor]) -> list[Tensor]:
    """Softmax over a list. Stacking users' scalars under `vmap` would fix the number of users in a graph."""
    top = functools.reduce(torch.maximum, scores)
    each = [torch.exp(score - top) for score in scores]
    total = sum(each[1:], each[0])
    return [one / total for one in each]
