"""One prediction of several."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor

from tegu.core.data.spec import Spec

__all__ = ["mean_output"]

_MIN_SHARE = 1e-6


def mean_output(spec: Spec, outputs: list[Tensor]) -> Tensor:
    """The outputs' mean: of values and scores, or of the probabilities of classes and labels, as logits."""
    if spec.kind == "classification":
        logs = [torch.log_softmax(output, -1) for output in outputs]
        top = reduce(torch.maximum, logs)
        return top + _mean([torch.exp(log - top) for log in logs]).log()
    if spec.kind == "multilabel":
        share = _mean([torch.sigmoid(output) for output in outputs]).clamp(_MIN_SHARE, 1 - _MIN_SHARE)
        return share.log() - (1 - share).log()
    return _mean(outputs)


def _mean(values: list[Tensor]) -> Tensor:
    return reduce(torch.add, values) / len(values)
