"""Parameters that adapt from first values that training leaves as they are.

Where labels are drawn anew for every user, no label's weights in the last layer have a better first value than
another's: over all orders of the labels, the mean update of each is the same. What a round's users say of a single
label's weights is therefore noise, and an outer optimiser such as Adam, which scales each entry's step, makes it as
large as any other step. Ye and Chao 2022, "How to Train Your MAML to Excel in Few-Shot Classification",
arXiv:2106.16245, train one vector for all labels. A softmax does not change with that vector, so here it stays at zero.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from tegu.learners.learner import Learner, TorchBatch, TorchTree, Update
from tegu.learners.modules.initial_values import adapted_parameter_names

__all__ = ["with_untrained"]


def with_untrained(learner: Learner, model: nn.Module, patterns: Sequence[str]) -> Learner:
    """The learner, whose update of some parameters is zero.

    An outer optimiser with weight decay still changes those that do not start at zero.

    Args:
        learner: any learner of `model`.
        model: the module.
        patterns: names or patterns of its parameters, as in `adapted_parameter_names`; none changes nothing.

    Raises:
        DataError: a pattern matches nothing, or only fixed parameters.
    """
    if not patterns:
        return learner
    names = adapted_parameter_names(model, patterns, "untrained_parameters")
    summed = learner.execution.summed_update
    if summed is not None:
        summed = summed._replace(compute=_zeroed(summed.compute, names))
    return replace(
        learner,
        update=_zeroed(learner.update, names),
        untrained_parameters=names,
        execution=replace(learner.execution, summed_update=summed),
    )


def _zeroed(update: Update, names: Collection[str]) -> Update:
    def zeroed(meta: TorchTree, support: TorchBatch, query: TorchBatch, noise: Tensor) -> TorchTree:
        found = update(meta, support, query, noise)
        return {name: torch.zeros_like(value) if name in names else value for name, value in found.items()}

    return zeroed
