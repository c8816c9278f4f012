"""Kernel regression of a user's targets on a few rows, around outputs that are given.

It minimises, over functions f of a kernel's space,

    sum over rows of mask * loss(start + f, target) + ridge / 2 * |f|^2

For values the loss is half the squared error: ridge regression of the residuals. For labels it is the cross-entropy:
logistic regression with an offset, the start. Both have the same gradient, mean(start + f) - target, in which `mean` is
the identity, the softmax or the sigmoid.

The solver is majorisation-minimisation with a bound on the loss's curvature that holds everywhere (Boehning 1992,
"Multinomial logistic regression algorithm", Ann. Inst. Stat. Math. 44). Every iteration then has the same matrix, so
that one inverse serves all of them. Momentum makes them fewer (Nesterov 1983). Squared error has this curvature itself:
its first iteration is exact, and the second restores float32 digits that repeated rows cancel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from tegu.core.data.spec import Kind
from tegu.learners.solvers.inverse import inverse

__all__ = ["LINKS", "KernelFit", "Link", "fit"]

_MIN_ROOT = 1e-3  # of a weight above 0


class Link(NamedTuple):
    """What outputs mean.

    Attributes:
        mean: outputs `[rows, outputs]` -> expected targets `[rows, outputs]`.
        curvature: upper bound of the derivative of `mean`.
        iterations: of the solver.
    """

    mean: Callable[[Tensor], Tensor]
    curvature: float
    iterations: int


def _softmax(logits: Tensor) -> Tensor:
    return torch.softmax(logits, -1)


def _identity(values: Tensor) -> Tensor:
    return values


LINKS: Mapping[Kind, Link] = MappingProxyType(
    {
        "classification": Link(_softmax, 0.5, 12),
        "multilabel": Link(torch.sigmoid, 0.25, 12),
        "regression": Link(_identity, 1.0, 2),
    }
)
"""The link of each kind of task that has targets. Decision 037 shows how far twelve iterations converge."""


class KernelFit(NamedTuple):
    """A fitted kernel regression.

    Attributes:
        weights: `[rows, outputs]`; the fitted function at x is kernel(x, rows) weights.
        left_out: `[rows, outputs]`, the function at each row if it is fitted to the other rows: exact for squared
            error. For labels the loss is replaced by its quadratic bound at the solution.
    """

    weights: Tensor
    left_out: Tensor


def fit(
    kernel_matrix: Tensor, start: Tensor, targets: Tensor, mask: Tensor, ridge: Tensor | float, link: Link
) -> KernelFit:
    """The regression of `targets` around `start`.

    It can be differentiated. The inverse only directs the iterations and does not change what they converge to, so it
    is held constant, and its own iterations need no gradient.

    Args:
        kernel_matrix: `[rows, rows]`.
        start: `[rows, outputs]`: logits, or values.
        targets: `[rows, outputs]`: probabilities, or values.
        mask: `[rows]`, the weight of each row, from 0 to 1; 0 marks padding, which has no effect.
        ridge: above 0.
        link: what outputs mean.
    """
    rows = torch.arange(mask.shape[0], device=mask.device)
    identity = (rows.unsqueeze(0) == rows.unsqueeze(1)).to(kernel_matrix.dtype)
    root, least = mask.sqrt().unsqueeze(1), ridge / link.curvature
    inverted = inverse((kernel_matrix * root * root.T + least * identity).detach(), identity)
    solved = ahead = torch.zeros_like(targets)
    for iteration in range(link.iterations):
        fitted = kernel_matrix @ (root * ahead)
        slope = root * (link.mean(start + fitted) - targets) + ridge * ahead
        before, solved = solved, ahead - inverted @ slope / link.curvature
        ahead = solved + iteration / (iteration + 3) * (solved - before)
    weights = root * solved
    without = (least - 1 / (inverted * identity).sum(1, keepdim=True)) * solved / root.clamp(min=_MIN_ROOT)
    return KernelFit(weights, kernel_matrix @ weights + without)
