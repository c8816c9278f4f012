"""Updates that are gradients of an objective, for one user and summed over users.

An objective maps (meta, support, query, noise) to a loss and to the changes of the adapted parameters. The update holds
these changes for the adapted parameters, and the gradient of the loss for all others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import TypeAlias

from torch import Tensor
from torch.func import grad, vmap

from tegu.learners.learner import SummedUpdate, TorchBatch, TorchTree, Update
from tegu.learners.parameters.table_rows import whole_parameters

__all__ = ["Objective", "summed_update_of", "update_of"]

Objective: TypeAlias = Callable[[TorchTree, TorchBatch, TorchBatch, Tensor], tuple[Tensor, TorchTree]]


def update_of(objective: Objective, adapted: Collection[str]) -> Update:
    """The `update` that follows `objective`.

    Args:
        objective: see the module docstring.
        adapted: names of the parameters that adapt, and of other entries that get no gradient, such as fixed ones.
    """

    def update(meta: TorchTree, support: TorchBatch, query: TorchBatch, noise: Tensor) -> TorchTree:
        return _gradient_and_changes(meta, adapted, lambda own: objective(own, support, query, noise))

    return update


def summed_update_of(objective: Objective, adapted: Collection[str]) -> SummedUpdate:
    """The sum of many users' updates, with one gradient of the summed losses.

    This avoids a gradient per user, which for a shared table would be as large as the table.
    """

    def total(meta: TorchTree, support: TorchBatch, query: TorchBatch, noise: Tensor) -> TorchTree:
        each = vmap(objective, (None, 0, 0, 0 if noise.dim() > 1 else None))

        def summed(own: TorchTree) -> tuple[Tensor, TorchTree]:
            losses, changes = each(own, support, query, noise)
            return losses.sum(), changes | {name: value.sum(0) for name, value in whole_parameters(changes).items()}

        return _gradient_and_changes(meta, adapted, summed)

    return SummedUpdate(math.inf, total)


def _gradient_and_changes(
    meta: TorchTree, adapted: Collection[str], objective: Callable[[TorchTree], tuple[Tensor, TorchTree]]
) -> TorchTree:
    others = {name: value for name, value in meta.items() if name not in adapted}
    gradients: TorchTree
    changes: TorchTree
    gradients, changes = grad(lambda others: objective(meta | others), has_aux=True)(others)
    return gradients | changes
