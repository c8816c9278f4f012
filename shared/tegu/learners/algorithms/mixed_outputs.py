"""The mean of several models' outputs, by weights that sum to 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

from tegu.core.data.spec import Kind

__all__ = ["mixed_outputs"]

_LEAST_WEIGHT = 1e-12  # its logarithm is finite
_LEAST_SHARE = 1e-6  # of a label among several, as far from 1 as from 0


def mixed_outputs(kind: Kind, weights: Sequence[Tensor | float], outputs: Sequence[Tensor]) -> Tensor:
    """Average probabilities of classes and labels, and anything else as it is.

    Scores of rankings average as they are, so that their softmax is a geometric mean.

    Args:
        kind: the kind of problem.
        weights: of each model, scalar tensors or numbers above 0.
        outputs: of each model, `[rows, outputs]`, or scores `[rows]` for a ranking.

    Returns:
        Outputs of the same shape: logarithms of probabilities for classes, logits for several labels.
    """
    if kind == "multilabel":
        shares = _mean(weights, [torch.sigmoid(output) for output in outputs])
        kept = shares.clamp(_LEAST_SHARE, 1 - _LEAST_SHARE)
        return kept.log() - (1 - kept).log()
    if kind != "classification":
        return _mean(weights, outputs)
    logs = [_log(weight) + torch.log_softmax(output, -1) for weight, output in zip(weights, outputs, strict=True)]
    top = reduce(torch.maximum, logs)
    return top + reduce(torch.add, [torch.exp(log - top) for log in logs]).log()


def _log(weight: Tensor | float) -> Tensor | float:
    return math.log(weight) if isinstance(weight, float) else weight.clamp(min=_LEAST_WEIGHT).log()


def _mean(weights: Sequence[Tensor | float], outputs: Sequence[Tensor]) -> Tensor:
    return reduce(torch.add, [weight * output for weight, output in zip(weights, outputs, strict=True)])
