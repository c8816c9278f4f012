"""The network of the few-shot papers: four convolutions of 64 channels each (Vinyals et al. 2016, arXiv:1606.04080).

Other numbers of channels are possible. Those that double from layer to layer cost as much as 64 in each, for the first
layers have the most places.

Each row is a function of itself alone: in place of batch normalisation, each drawing is normalised by itself.

Drawings are halved before they are normalised, where the papers halve them last: a third of the time.

The last layer starts at zero, for labels are drawn anew in every task: no first value of a label's weights is better
than another's. The first gradient step then writes each label's mean features into it. With random weights, the step
first has to undo what they say (Ye and Chao 2022, "How to Train Your MAML to Excel in Few-Shot Classification",
arXiv:2106.16245, study this symmetry).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from torch import nn

__all__ = ["Channels", "Shrink", "four_convolutions"]

Channels: TypeAlias = tuple[int, int, int, int]
"""Of each convolution."""

Shrink: TypeAlias = Literal["pool", "stride"]
"""What halves the sides of a drawing after each convolution."""

_LAST_SIDE: dict[Shrink, int] = {"pool": 1, "stride": 2}  # of 28 pixels, halved four times, rounded down or up


def four_convolutions(classes: int, channels: Channels = (64, 64, 64, 64), shrink: Shrink = "pool") -> nn.Sequential:
    """Return a network from `[rows, 1, 28, 28]` to `[rows, classes]`.

    Args:
        classes: number of outputs.
        channels: of each convolution.
        shrink: "pool" takes the largest of four places, so that the last layer gets as many features as the last
            convolution has channels. "stride" computes every fourth place alone, as MAML's Omniglot network does (Finn
            et al. 2017, arXiv:1703.03400): a quarter of the time, and four times as many features.
    """
    layers, step = list[nn.Module](), 2 if shrink == "stride" else 1
    for before, width in zip((1, *channels), channels, strict=False):
        layers.append(nn.Conv2d(before, width, 3, stride=step, padding=1))
        layers += [nn.MaxPool2d(2)] if shrink == "pool" else []
        layers += [nn.GroupNorm(1, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), _FromZero(channels[-1] * _LAST_SIDE[shrink] ** 2, classes))


class _FromZero(nn.Linear):
    """A linear layer that starts at zero."""

    def reset_parameters(self) -> None:
        """Set weights and biases to zero."""
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)
