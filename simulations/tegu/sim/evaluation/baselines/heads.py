"""A linear head on the module's features, fitted to the support: logistic regression, or ridge regression.

The head's outputs are `share * f0(x) + (phi(x), 1) w`, where f0 is the initialisation's output and phi its features.
The weights w minimise the loss of the support plus `penalty / 2 * |w|^2`. With a share of 1 the head starts from the
initialisation's own, with 0 from nothing, as for classes whose meaning differs from user to user.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tegu.core.data.batch import Array
from tegu.core.data.spec import Kind
from tegu.sim.evaluation.baselines.module_features import Prepared

__all__ = ["HEADS", "RIDGE_HEADS", "Head", "head_outputs"]

_PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)
_ITERATIONS = 150
_CURVATURE = {"classification": 0.5, "multilabel": 0.25}  # the largest second derivative of a row's loss


class Head(NamedTuple):
    """Settings of a head.

    Attributes:
        share: of the initialisation's outputs that the head starts from.
        penalty: of the squared weights; features have a mean squared length of 1 on the support.
    """

    share: float
    penalty: float


RIDGE_HEADS = tuple(Head(1.0, penalty) for penalty in _PENALTIES)
HEADS = (*RIDGE_HEADS, *(Head(0.0, penalty) for penalty in _PENALTIES[:-1]))


def head_outputs(prepared: Prepared, head: Head, kind: Kind) -> Sequence[Array]:
    """Outputs of the fitted head for each trial's query: logits, or values of a regression.

    Args:
        prepared: the trials.
        head: settings.
        kind: of the task.
    """
    similarity = prepared.similarity + 1  # the constant feature of the intercept
    start = head.share * prepared.outputs
    if kind == "regression":
        ridge = similarity + head.penalty * np.eye(similarity.shape[-1])
        weights = np.linalg.solve(ridge, prepared.targets - start)
    else:
        weights = _logistic(similarity, start, prepared.targets, head.penalty, kind)
    parts = zip(prepared.query_outputs, prepared.query_similarity, weights, strict=True)
    return [head.share * outputs + (similarities + 1) @ own for outputs, similarities, own in parts]


def _logistic(similarity: Array, start: Array, targets: Array, penalty: float, kind: Kind) -> Array:
    """Weights of the rows `[trials, k, outputs]`; those of the features are their combination of the support's rows.

    Nesterov's accelerated gradient in the features' own metric, with the momentum of a strongly convex function.
    """
    k, s, y = (torch.from_numpy(values) for values in (similarity, start, targets))
    largest = torch.linalg.eigvalsh(k)[:, -1, None, None]
    smooth = _CURVATURE[kind] * largest + penalty
    momentum = (smooth.sqrt() - math.sqrt(penalty)) / (smooth.sqrt() + math.sqrt(penalty))
    probabilities = _softmax if kind == "classification" else torch.sigmoid
    weights, ahead = torch.zeros_like(y), torch.zeros_like(y)
    for _ in range(_ITERATIONS):
        slope = probabilities(s + k @ ahead) - y + penalty * ahead
        changed = ahead - slope / smooth
        ahead = changed + momentum * (changed - weights)
        weights = changed
    return weights.numpy()


def _softmax(logits: Tensor) -> Tensor:
    return torch.softmax(logits, -1)
