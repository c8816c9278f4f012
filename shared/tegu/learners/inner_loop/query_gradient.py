"""Updates that are the gradient of an objective: one user's, and the sum of many users'.

An objective maps (meta, support, query, noise) to a loss and to what moved. The update of parameters that are not fast
is the gradient of the loss, that of the fast ones is what moved.
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


def update_of(objective: Objective, fast: Collection[str]) -> Update:
    """The `update` that `objective` stands for.

    Args:
        objective: see the module's text.
        fast: the parameters that adapt.
    """

    def update(meta: TorchTree, support: TorchBatch, query: TorchBatch, noise: Tensor) -> TorchTree:
        return _followed(meta, fast, lambda own: objective(own, support, query, noise))

    return update


def summed_update_of(objective: Objective, fast: Collection[str]) -> SummedUpdate:
    """The sum of many users' updates: the gradient is taken once, of the sum of losses.

    No user has a gradient of its own, which for a shared table would be as large as the table.
    """

    def total(meta: TorchTree, support: TorchBatch, query: TorchBatch, noise: Tensor) -> TorchTree:
        each = vmap(objective, (None, 0, 0, 0 if noise.dim() > 1 else None))

        def summed(own: TorchTree) -> tuple[Tensor, TorchTree]:
            losses, moved = each(own, support, query, noise)
            return losses.sum(), moved | {name: value.sum(0) for name, value in whole_parameters(moved).items()}

        return _followed(meta, fast, summed)

    return SummedUpdate(math.inf, total)


def _followed(
    meta: TorchTree, fast: Collection[str], objective: Callable[[TorchTree], tuple[Tensor, TorchTree]]
) -> TorchTree:
    slow = {name: value for name, value in meta.items() if name not in fast}
    gradients: TorchTree
    moved: TorchTree
    gradients, moved = grad(lambda slow: objective(meta | slow), has_aux=True)(slow)
    return gradients | moved
