"""Rows in the order of their labels, so that every n-th row is a part with each label in its share.

Parts of a user's rows that are drawn without a look at labels share them unevenly: what one part has too much of, the
next has too little of. Steps on one part after another then train for the opposite of what the first has shown.
"""

from __future__ import annotations

import torch

from tegu.core.data.spec import Spec
from tegu.learners.learner import TorchBatch

__all__ = ["for_minibatches", "in_label_order"]


def in_label_order(rows: TorchBatch) -> TorchBatch:
    """The rows by ascending label, those of one label in the order they had, and masked rows last.

    Args:
        rows: of one user, with integer labels `y` `[rows]`.
    """
    place = torch.arange(rows.mask.shape[0], device=rows.mask.device)
    earlier = place.unsqueeze(0) < place.unsqueeze(1)
    last = rows.mask == 0
    same_kind = last.unsqueeze(0) == last.unsqueeze(1)
    lower = (rows.y.unsqueeze(0) < rows.y.unsqueeze(1)) | ((rows.y.unsqueeze(0) == rows.y.unsqueeze(1)) & earlier)
    before = (~last.unsqueeze(0) & last.unsqueeze(1)) | (same_kind & lower)
    target = before.to(rows.mask.dtype).sum(1)
    order = (target.unsqueeze(0) == place.unsqueeze(1)).to(rows.mask.dtype).argmax(1)
    return TorchBatch(*(part[order] for part in rows))


def for_minibatches(rows: TorchBatch, spec: Spec, minibatches: int) -> TorchBatch:
    """The rows in the order that minibatches are taken from: that of labels, if there are several parts and labels."""
    return in_label_order(rows) if minibatches > 1 and spec.kind == "classification" else rows
