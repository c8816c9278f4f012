"""Local training: every user trains a model from scratch on its own support, without sharing anything.

This baseline shows the value of the other users' data.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from tegu.core.data.tree import trained_part
from tegu.learners.inner_loop.gradient_steps import inner_loop
from tegu.learners.learner import Learner, TorchBatch, TorchTree
from tegu.learners.modules.checks import checked_module
from tegu.learners.modules.functional import call
from tegu.learners.modules.initial_values import trained_parameter_names
from tegu.learners.modules.losses import OutputLoss, find_loss
from tegu.learners.modules.table_lookups import find_row_tables

__all__ = ["local_only"]


def local_only(model: nn.Module, like: Learner, *, loss: str | OutputLoss | None = None) -> Learner:
    """A learner whose parameters all adapt, but for fixed ones, from where `like` starts; its updates are zero.

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
    names = trained_parameter_names(model)

    def update(meta: TorchTree, support: TorchBatch, query: TorchBatch, noise: Tensor) -> TorchTree:
        del support, query, noise
        return {name: torch.zeros_like(value) for name, value in trained_part(meta, like.fixed_parameters).items()}

    return replace(
        like,
        name="local_only",
        paper="",
        adapted_parameters=names,
        adapt=inner_loop(model, rows_loss, names, "sgd", tables=find_row_tables(model, rows_loss, like.spec, names)),
        predict=lambda meta, state, x: call(model, meta | state, x),
        update=update,
        execution=replace(like.execution, summed_update=None),
    )
