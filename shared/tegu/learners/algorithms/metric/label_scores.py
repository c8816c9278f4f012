"""From scores of labels to log-probabilities, for methods that know only the labels of a user's examples.

In the papers an episode's queries have the labels of its support, and probabilities are over these. A device also gets
rows whose label the user has not given yet. Such labels share the probability `unseen` evenly. With no examples at all
they share everything, so that the prediction is uniform.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tegu.learners.learner import TorchBatch
from tegu.learners.operators.exportable import one_hot, softmax_cross_entropy

__all__ = ["UNSEEN", "known_rows", "label_log_probabilities", "nearest_label_loss"]

UNSEEN = 0.01
"""Default share of probability of the labels without an example."""

_EXCLUDED = -1e9  # the score of a label without examples: its probability is 0, without infinities in gradients
_TINY = 1e-12


def label_log_probabilities(scores: Tensor, counts: Tensor, unseen: Tensor | float) -> Tensor:
    """Log-probabilities of labels, `[rows, labels]`.

    Args:
        scores: `[rows, labels]`, log-probabilities up to a constant of each row.
        counts: `[labels]`, the weight of each label's examples; 0 for a label without one.
        unseen: share of probability of all labels without an example, from 0 to 1.
    """
    known = (counts > 0).to(scores.dtype)
    among_known = torch.log_softmax(_only(scores, known), -1)
    absent = (1 - known).sum()
    none_known, some_absent = (known.sum() < 1).to(scores.dtype), (absent > 0).to(scores.dtype)
    share = none_known + (1 - none_known) * some_absent * unseen
    each = torch.log((share / absent.clamp(min=1)).clamp(min=_TINY))
    return known * (among_known + torch.log((1 - share).clamp(min=_TINY))) + (1 - known) * each


def nearest_label_loss(scores: Tensor, counts: Tensor, query: TorchBatch) -> Tensor:
    """The mean cross-entropy of query rows among the labels of the support, a scalar.

    Args:
        scores: as in `label_log_probabilities`.
        counts: as in `label_log_probabilities`.
        query: rows whose label has no example in the support do not count.
    """
    known = (counts > 0).to(scores.dtype)
    targets, weights = one_hot(query.y, scores.shape[-1]), known_rows(counts, query)
    rows = softmax_cross_entropy(_only(scores, known), targets)
    return (torch.where(weights > 0, rows, 0.0) * weights).sum() / weights.sum().clamp(min=1)


def known_rows(counts: Tensor, query: TorchBatch) -> Tensor:
    """The weight `[rows]` of each query row whose label has an example in the support; 0 for others."""
    known = (counts > 0).to(query.mask.dtype)
    return query.mask * (one_hot(query.y, counts.shape[0]) @ known)


def _only(scores: Tensor, known: Tensor) -> Tensor:
    return torch.where(known > 0, scores, _EXCLUDED)
