"""The model of `shakespeare`: the next character from a window of characters."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["NextCharacter"]


class NextCharacter(nn.Module):
    """Logits of the next character.

    Args:
        characters: number of character ids.
        window: number of characters in the input.
        width: length of an embedding.
        hidden: units of the first hidden layer; the second has a third as many.
    """

    def __init__(self, characters: int, window: int, width: int = 24, hidden: int = 192) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, width)
        self.body = nn.Sequential(
            nn.Flatten(),
            nn.Linear(window * width, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden // 3),
            nn.ReLU(),
        )
        self.head = nn.Linear(hidden // 3, characters)

    def forward(self, windows: Tensor) -> Tensor:
        """Return logits `[rows, characters]` of windows `[rows, window]` of character ids."""
        logits: Tensor = self.head(self.body(self.embedding(windows)))
        return logits
