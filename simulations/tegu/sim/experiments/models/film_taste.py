"""The model of `movielens`: film scores from shared film embeddings and one personal vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["FilmTaste"]


class FilmTaste(nn.Module):
    """Scores of films for one user.

    Args:
        films: number of films.
        factors: length of an embedding.
    """

    def __init__(self, films: int, factors: int) -> None:
        super().__init__()
        self.film = nn.Embedding(films, factors)
        self.bias = nn.Embedding(films, 1)
        self.user = nn.Parameter(torch.zeros(factors))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw small random embeddings and a small random user vector; set biases to zero."""
        nn.init.normal_(self.film.weight, std=0.1)
        nn.init.normal_(self.user, std=0.1)
        nn.init.zeros_(self.bias.weight)

    def forward(self, films: Tensor) -> Tensor:
        """Return scores `[rows]` of film ids `[rows]`."""
        scores: Tensor = self.film(films) @ self.user + self.bias(films).squeeze(-1)
        return scores
