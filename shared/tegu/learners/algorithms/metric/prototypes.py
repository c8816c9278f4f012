"""The mean embedding of each label's examples."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from tegu.learners.learner import TorchBatch
from tegu.learners.operators.exportable import one_hot

__all__ = ["Prototypes", "prototypes_of"]

_LEAST = 1e-6  # a weight to divide by where a label has no examples


class Prototypes(NamedTuple):
    """The mean embedding of each label.

    Attributes:
        means: `[labels, width]`; 0 for a label without examples.
        counts: `[labels]`, the weight of each label's examples.
    """

    means: Tensor
    counts: Tensor


def prototypes_of(
    support: TorchBatch,
    labels: int,
    weight: Tensor | float,
    prior: tuple[Tensor, Tensor | float] | None = None,
) -> Prototypes:
    """The weighted mean embedding of each label's rows.

    Args:
        support: embedded rows, `x` `[rows, width]`.
        labels: number of labels.
        weight: of an example; 0 for no examples.
        prior: vectors `[labels, width]`, and the number of examples that each of them counts for.
    """
    weights = one_hot(support.y, labels) * (support.mask * weight).unsqueeze(-1)
    counts, sums = weights.sum(0), weights.T @ support.x
    if prior is not None:
        vectors, examples = prior
        counts, sums = counts + examples, sums + examples * vectors
    return Prototypes(sums / counts.clamp(min=_LEAST).unsqueeze(-1), counts)
