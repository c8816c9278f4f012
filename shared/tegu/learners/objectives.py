"""Updates that are the gradient of an objective: one user's, and the sum of many users'."""

from __future__ import annotations

from collections.abc import Callable, Collection

from torch import Tensor
from torch.func import grad, vmap

from tegu.learners.learner import Objective, TorchBatch, TorchTree, Update

__all__ = ["sum_over_users", "update_of"]


def update_of(objective: Objective, fast: Collection[str]) -> Update:
    """The `update` that `objective` stands for; see `Learner.objective`.

    Args:
        objective: the learner's.
        fast: the parameters that adapt: the others follow the gradient.
    """

    def update(meta: TorchTree, support: TorchBatch, query: TorchBatch, noise: Tensor) -> TorchTree:
        return _followed(meta, fast, lambda own: objective(own, support, query, noise))

    return update


def sum_over_users(objective: Objective, fast: Collection[str]) -> Update:
    """As `update_of` for supports and queries of many users `[users, ...]`, who share noise; the sum of their updates.

    What moved is `[users, ...]` still. The gradient is taken once, of the sum of losses: no user has a gradient of its
    own, which for a shared table would be as large as the table.
    """
    each = vmap(objective, (None, 0, 0, None))

    def update(meta: TorchTree, support: TorchBatch, query: TorchBatch, noise: Tensor) -> TorchTree:
        def total(own: TorchTree) -> tuple[Tensor, TorchTree]:
            losses, moved = each(own, support, query, noise)
            return losses.sum(), moved

        return _followed(meta, fast, total)

    return update


def _followed(
    meta: TorchTree, fast: Collection[str], objective: Callable[[TorchTree], tuple[Tensor, TorchTree]]
) -> TorchTree:
    slow = {name: value for name, value in meta.items() if name not in fast}
    gradients: TorchTree
    moved: TorchTree
    gradients, moved = grad(lambda slow: objective(meta | slow), has_aux=True)(slow)
    return gradients | moved
