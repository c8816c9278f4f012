"""Joint training: one model for everyone, one gradient step a client a round (FederatedSGD).

McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", 2017, arXiv:1602.05629.

The honest comparator for meta-learning: what learning without any thought of adaptation gives. It adapts, when asked
to, by the same inner loop as the learner it is compared with.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from tegu.learners.inner_loop.gradient_steps import concatenate, gradients
from tegu.learners.learner import Execution, Learner, TorchBatch, TorchTree
from tegu.learners.modules.checks import checked_module
from tegu.learners.modules.losses import OutputLoss, find_loss

__all__ = ["PAPER", "fedsgd"]

PAPER = "McMahan et al. 2017, Communication-Efficient Learning (FedSGD), arXiv:1602.05629"


def fedsgd(model: nn.Module, like: Learner, *, loss: str | OutputLoss | None = None) -> Learner:
    """Joint training of `model`, adapting as `like` does.

    Args:
        model: the module `like` was built from.
        like: the learner to compare with.
        loss: as `like`'s.

    Raises:
        CompileError: as `reptile`.
        DataError: as `reptile`.
        UnknownNameError: no such loss.
    """
    model = checked_module(model, like.spec)
    rows_loss = find_loss(loss, like.spec)

    def update(meta: TorchTree, support: TorchBatch, query: TorchBatch, noise: Tensor) -> TorchTree:
        del noise
        everything = concatenate(support, query)
        return gradients(model, rows_loss, meta, meta, everything)

    execution = Execution(order_invariant=True, merges_query=True, example_scaling=like.execution.example_scaling)
    return replace(like, name="fedsgd", paper=PAPER, update=update, execution=execution)
