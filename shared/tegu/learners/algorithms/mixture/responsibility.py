"""Responsibilities: the probability of each of several initialisations for a user, from the losses of the user's rows.

Let L be the mean loss of n rows under an initialisation. Their log-likelihood is -n L if the loss is itself a negative
log-likelihood (cross-entropy, the softmax of a ranking). For squared errors it is -n/2 log L: the Gaussian likelihood
with the variance that fits the user best, up to a constant. This does not depend on the unit of the targets.
Responsibilities are mixing weights times likelihoods, normalised to sum to 1.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from tegu.core.data.spec import Kind

__all__ = ["log_likelihoods", "loo_log_likelihoods", "softmax_scalars"]

_MIN_SQUARED_ERROR = 1e-10  # rows that are predicted exactly would be infinitely likely


def log_likelihoods(kind: Kind, losses: Sequence[Tensor], mask: Tensor) -> list[Tensor]:
    """The log-likelihood of a user's rows under each initialisation, scalars; 0 if there is no row.

    Args:
        kind: the kind of problem.
        losses: for each initialisation, the loss of each row `[rows]`.
        mask: `[rows]`.
    """
    return [_log_likelihood(kind, (each * mask).sum(), mask.sum()) for each in losses]


def loo_log_likelihoods(kind: Kind, losses: Sequence[Tensor], mask: Tensor) -> list[Tensor]:
    """As `log_likelihoods`, leaving out each row in turn: `[rows]` for each initialisation."""
    return [_log_likelihood(kind, (each * mask).sum() - each * mask, mask.sum() - mask) for each in losses]


def _log_likelihood(kind: Kind, total: Tensor, rows: Tensor) -> Tensor:
    if kind != "regression":
        return -total
    return -0.5 * rows * torch.log((total / rows.clamp(min=1)).clamp(min=_MIN_SQUARED_ERROR))


def softmax_scalars(scores: Sequence[Tensor]) -> list[Tensor]:
    """Softmax over a list. Stacking users' scalars under `vmap` would fix the number of users in a graph."""
    top = functools.reduce(torch.maximum, scores)
    each = [torch.exp(score - top) for score in scores]
    total = sum(each[1:], each[0])
    return [one / total for one in each]
