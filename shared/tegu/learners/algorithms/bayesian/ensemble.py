"""Several sets of parameters of one user: their predictions, and one prediction of all of them."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor

from tegu.core.data.spec import Spec
from tegu.learners.inner_loop.adaptable import Adaptable
from tegu.learners.learner import TorchTree
from tegu.learners.parameters.copies import copy_of

__all__ = ["mean_output", "member_outputs"]

_MIN_SHARE = 1e-6


def member_outputs(ready: Adaptable, meta: TorchTree, state: TorchTree, members: int, x: Tensor) -> list[Tensor]:
    """The output of each member for `x` `[rows, ...]`; the state holds members as `0/<name>`, `1/<name>`."""
    return [ready.output(meta | copy_of(state, number), x) for number in range(members)]


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
