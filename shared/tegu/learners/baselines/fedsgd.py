"""FedSGD: joint training of one model for all users, with one gradient step per user and round.

McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", 2017, arXiv:1602.05629.

This baseline shows the result of training without meta-learning. It adapts by the same inner loop as the learner that
it is compared with.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from tegu.core.data.tree import trained_part
from tegu.learners.inner_loop.gradient_steps import concatenate, gradients
from tegu.learners.learner import Execution, Learner, TorchBatch, TorchTree
from tegu.learners.modules.checks import checked_module
from tegu.learners.modules.losses import OutputLoss, find_loss

__all__ = ["PAPER", "fedsgd"]

PAPER = "McMahan et al. 2017, Communication-Efficient Learning (FedSGD), arXiv:1602.05629"


def fedsgd(model: nn.Module, like: Learner, *, loss: str | OutputLoss | None = None) -> Learner:
    """Joint training of `model`; it adapts as `like` does.

    Args:
        model: the module `like` was built from.
        like: the learner to compare with.
        loss: the loss `like` was built with.

    Raises:
        CompileError: as `reptile`.
        DataError: as `reptile`.
        UnknownNameError: no loss has this name.
    """
    model = checked_module(model, like.spec)
    rows_loss = find_loss(loss, like.spec)

    def update(meta: TorchTree, support: TorchBatch, query: TorchBatch, noise: Tensor) -> TorchTree:
        del noise
        rows = concatenate(support, query)
        return gradients(model, rows_loss, meta, trained_part(meta, like.fixed_parameters), rows)

    execution = Execution(order_invariant=True, merges_query=True, example_scaling=like.execution.example_scaling)
    return replace(like, name="fedsgd", paper=PAPER, update=update, execution=execution, untrained_parameters=())
