"""The network of the few-shot papers: four convolutions of 64 channels (Vinyals et al. 2016, arXiv:1606.04080).

Each row is a function of itself alone: in place of batch normalisation, each drawing is normalised by itself.
"""

from __future__ import annotations

from torch import nn

__all__ = ["four_convolutions"]

_LAYERS = 4


def four_convolutions(classes: int, channels: int = 64) -> nn.Sequential:
    """Return a network from `[rows, 1, 28, 28]` to `[rows, classes]`; its last layer gets `channels` features."""
    layers = list[nn.Module]()
    for number in range(_LAYERS):
        layers += [
            nn.Conv2d(channels if number else 1, channels, 3, padding=1),
            nn.GroupNorm(1, channels),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels, classes))
