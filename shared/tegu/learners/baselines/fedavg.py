"""FedAvg: each user trains all parameters on all its rows, and the server averages the results.

McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", 2017, arXiv:1602.05629.

With an outer SGD of rate 1 this equals Reptile (Jiang et al. 2019, arXiv:1909.12488) with all parameters adapted,
whatever `adapted_parameters` is. Users have equal weight regardless of their number of rows, because the server's round
is a mean over users.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from tegu.learners.inner_loop.dual_steps import summed_by_dual_steps
from tegu.learners.inner_loop.gradient_steps import concatenate, inner_loop, run_steps
from tegu.learners.learner import Execution, Learner, TorchBatch, TorchTree
from tegu.learners.modules.checks import checked_module
from tegu.learners.modules.initial_values import trained_parameter_names
from tegu.learners.modules.losses import OutputLoss, find_loss
from tegu.learners.modules.table_lookups import find_row_tables
from tegu.learners.parameters.step_sizes import only_learned, without_learned
from tegu.learners.parameters.table_rows import parameter_changes

__all__ = ["PAPER", "fedavg"]

PAPER = "McMahan et al. 2017, Communication-Efficient Learning (FedAvg), arXiv:1602.05629"


def fedavg(model: nn.Module, like: Learner, *, loss: str | OutputLoss | None = None) -> Learner:
    """FedAvg of `model`, with the same number and size of local full-batch SGD steps as `like`.

    Learned step sizes of `like` keep their initial values and are not used in training.

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
    tables = find_row_tables(model, rows_loss, like.spec, names)
    local = inner_loop(model, rows_loss, names, "sgd", tables=tables)

    def update(meta: TorchTree, support: TorchBatch, query: TorchBatch, noise: Tensor) -> TorchTree:
        del noise
        adapted = run_steps(local, without_learned(meta), concatenate(support, query), like.knobs)
        return parameter_changes(meta, adapted) | {
            name: torch.zeros_like(value) for name, value in only_learned(meta).items()
        }

    execution = Execution(
        summed_update=None if tables else summed_by_dual_steps(model, rows_loss, like.spec, like.knobs),
        order_invariant=True,
        merges_query=True,
        example_scaling=like.execution.example_scaling,
    )
    return replace(like, name="fedavg", paper=PAPER, update=update, execution=execution, untrained_parameters=())
