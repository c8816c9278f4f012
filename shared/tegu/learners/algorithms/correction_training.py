"""Training through residual correction: the features are those with which the correction predicts well.

Reptile trains an initialisation that adapts by gradient steps, which a device with residual correction does not take.
Here the server follows the gradient of two losses of a user: that of the initialisation on all of the user's rows, and
that of the corrected outputs on the query, differentiated through the correction on the support. The module, which is
nearly all of the work, is computed once for both losses.

Bertinetto et al. 2019 (R2-D2), arXiv:1805.08136, differentiate through ridge regression alone, without an
initialisation's outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from torch import Tensor, nn

from tegu.learners.inner_loop.query_gradient import summed_update_of, update_of
from tegu.learners.learner import RecommendedTraining, SummedUpdate, TorchBatch, TorchTree, Update
from tegu.learners.modules.functional import Given
from tegu.learners.modules.losses import Loss, masked_mean

__all__ = ["TRAINING", "Corrected", "See", "Seen", "train_through"]

TRAINING = RecommendedTraining(
    "AdamW", 0.01, MappingProxyType({"weight_decay": 0.1}), rows=800, averaged=True, until_flat=True
)
"""Adam, because the two losses have gradients of any size; and rounds of few rows, whose noise makes a network
generalise better. Decisions 034, 040 and 059 show what was tried."""


class Seen(NamedTuple):
    """What the correction knows of rows: the module's `output` `[rows, outputs]` and `features` `[rows, width]`."""

    output: Tensor
    features: Tensor


See: TypeAlias = Callable[[TorchTree, Tensor], Seen]

Corrected: TypeAlias = Callable[[Seen, TorchBatch, Seen], Tensor]
"""(support as seen, support, query as seen) -> corrected outputs of the query `[rows, outputs]`."""


def train_through(
    module: nn.Module, loss: Loss, seen: See, corrected: Corrected, untrained: Collection[str]
) -> tuple[Update, SummedUpdate]:
    """The update of one user, and that summed over users.

    Args:
        module: the module.
        loss: of the initialisation, and of corrected outputs.
        seen: (meta, x) -> what the correction knows of rows; a row is seen alike whatever rows accompany it.
        corrected: corrects outputs for a user.
        untrained: names of the entries of meta that get no gradient, such as fixed parameters.
    """

    def objective(meta: TorchTree, support: TorchBatch, query: TorchBatch, noise: Tensor) -> tuple[Tensor, TorchTree]:
        del noise
        # Seen apart: the gradient of a slice of both, batched over users, fixes the number of users in a graph.
        known, asked = seen(meta, support.x), seen(meta, query.x)
        weights = [rows.mask.sum() for rows in (support, query)]
        losses = [
            masked_mean(loss, Given(module, meta, output=each.output), rows) * weight.clamp(min=1)
            for each, rows, weight in zip((known, asked), (support, query), weights, strict=True)
        ]
        before = (losses[0] + losses[1]) / (weights[0] + weights[1]).clamp(min=1)
        output = corrected(known, support, asked)
        return before + masked_mean(loss, Given(module, meta, output=output), query), {}

    return update_of(objective, untrained), summed_update_of(objective, untrained)
