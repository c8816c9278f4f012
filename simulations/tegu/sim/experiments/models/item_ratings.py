"""A factor model of ratings: an item's effect for all users, and one user's preferences for its features.

    rating = level + effect of the item + taste . [bias, features of the item] + offset

An item's features are learned. If attributes such as genres are `known`, features of these attributes are added; they
dominate for items with few ratings (Agarwal and Chen 2009, "Regression-based latent factor models").

The user's `taste` starts at zero. With features E and the constant `bias` before them, ridge regression on it is
kriging with the kernel `bias^2 + E_i . E_j`: the user's own level, and preferences that items share (Koren et al. 2009,
"Matrix Factorization Techniques").
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor, nn

from tegu.core.data.batch import Array

__all__ = ["ItemRatings"]


class ItemRatings(nn.Module):
    """One user's ratings of items.

    Args:
        items: number of items.
        factors: length of an item's feature vector.
        level: typical rating. Effects are differences from it, so that weight decay draws rare items to this level.
        bias: value of the constant feature: the expected size of the difference of a user's own level.
        known: float32 `[items, kinds]`, known attributes of the items; None if there are none.
    """

    kinds: Tensor | None

    def __init__(self, items: int, factors: int, level: float, bias: float, known: Array | None = None) -> None:
        super().__init__()
        self.level, self.bias = level, bias
        self.register_buffer("kinds", None if known is None else torch.from_numpy(known))
        self.of_kinds = None if known is None else nn.Parameter(torch.empty(known.shape[1], factors))
        self.effect = nn.Embedding(items, 1)
        self.features = nn.Embedding(items, factors)
        self.taste = nn.Linear(1 + factors, 1)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw small random features; set effects, preferences and offset to zero."""
        nn.init.normal_(self.features.weight, std=0.1)
        if self.of_kinds is not None:
            nn.init.normal_(self.of_kinds, std=0.1)
        for zero in (self.effect.weight, self.taste.weight, self.taste.bias):
            nn.init.zeros_(zero)

    def forward(self, items: Tensor) -> Tensor:
        """Return ratings `[rows, 1]` of item ids `[rows]`."""
        features = self.features(items)
        if self.kinds is not None and self.of_kinds is not None:
            features = features + self.kinds[items] @ self.of_kinds
        features = F.pad(features, (1, 0), value=self.bias)
        return cast("Tensor", self.level + self.effect(items) + self.taste(features))
