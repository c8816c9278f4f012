"""A model of ratings: what an item is worth to everyone, and what its features are worth to one person.

    rating = level + effect of the item + taste . [bias, features of the item] + offset

Features of an item are its own, and those of its kind where something is `known` of it, such as genres: the less it was
rated the more it has of its kind (Agarwal and Chen 2009, "Regression-based latent factor models").

The person's `taste` starts at zero for everybody. With features E and the constant `bias` before them, ridge regression
on it is kriging with the kernel `bias^2 + E_i . E_j`: the person's own level, and tastes that items share (Koren et al.
2009, "Matrix Factorization Techniques").
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor, nn

from tegu.core.data.batch import Array

__all__ = ["ItemRatings"]


class ItemRatings(nn.Module):
    """One person's ratings of items.

    Args:
        items: size of the catalogue.
        factors: length of an item's features.
        level: about what an item gets; effects are differences from it, so that decay draws rare items there.
        bias: the constant feature; a person's own level is expected to differ by about so much.
        known: `[items, kinds]`, float32; None where nothing is known of items.
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
        """Small random features; no effect, no taste, no offset."""
        nn.init.normal_(self.features.weight, std=0.1)
        if self.of_kinds is not None:
            nn.init.normal_(self.of_kinds, std=0.1)
        for zero in (self.effect.weight, self.taste.weight, self.taste.bias):
            nn.init.zeros_(zero)

    def forward(self, items: Tensor) -> Tensor:
        """Ratings `[rows, 1]` of item ids `[rows]`."""
        features = self.features(items)
        if self.kinds is not None and self.of_kinds is not None:
            features = features + self.kinds[items] @ self.of_kinds
        features = F.pad(features, (1, 0), value=self.bias)
        return cast("Tensor", self.level + self.effect(items) + self.taste(features))
