"""First layers for one input: from rows `[rows, *shape]` to features `[rows, width]`, by what the input holds."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tegu.core.data.field import Field

__all__ = ["Encoder", "encoder_of"]

_CHANNELS = (16, 32, 64)
_MOST_CHANNELS = 4  # of a picture; more are steps or numbers
_SMALLEST_SIDE = 8  # of a picture
_WIDEST_EMBEDDING = 32


class Encoder(NamedTuple):
    """The first layers of an input.

    Attributes:
        module: from `[rows, *shape]` to `[rows, width]`.
        width: number of features.
        text: what it is, for a note.
    """

    module: nn.Module
    width: int
    text: str


def encoder_of(field: Field) -> Encoder:
    """The encoder for an input of this layout."""
    if field.dtype == "int64":
        return _ids(field) if not field.shape else _tokens(field)
    if field.ids:
        module = _Mixed(field)
        return Encoder(module, module.width, "embeddings of ids beside numbers")
    if field.dtype == "float32" and (picture := _channels_of(field.shape)) is not None:
        return _picture(field.shape, picture)
    if field.dtype == "float32" and len(field.shape) == 2:
        return _window(field.shape)
    return Encoder(_Numbers(), math.prod(field.shape), "numbers")


def _channels_of(shape: tuple[int, ...]) -> int | None:
    """The axis of a picture's channels, -1 for one without such an axis; None if this is no picture."""
    if len(shape) == 2 and shape[0] == shape[1] >= _SMALLEST_SIDE:
        return -1
    if len(shape) == 3:
        for axis in (0, 2):
            sides = [size for other, size in enumerate(shape) if other != axis]
            if shape[axis] <= _MOST_CHANNELS and min(sides) >= _SMALLEST_SIDE:
                return axis
    return None


def _picture(shape: tuple[int, ...], axis: int) -> Encoder:
    sides = [size for other, size in enumerate(shape) if other != axis]
    channels, layers = 1 if axis < 0 else shape[axis], list[nn.Module]()
    while max(sides) >= _SMALLEST_SIDE and min(sides) > 1:
        wider = _CHANNELS[min(len(layers) // 3, len(_CHANNELS) - 1)]
        layers += [nn.Conv2d(channels, wider, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        channels, sides = wider, [size // 2 for size in sides]
    module = nn.Sequential(_ChannelsFirst(axis), *layers, nn.Flatten())
    return Encoder(module, channels * math.prod(sides), "convolutions over pictures")


def _window(shape: tuple[int, ...]) -> Encoder:
    """Steps and channels. The longer axis is time."""
    steps, channels = max(shape), min(shape)
    kernel = min(5, steps)
    layers: list[nn.Module] = [_StepsLast(shape[0] == steps)]
    for wide in (32, 64):
        layers += [nn.Conv1d(channels, wide, kernel, padding="same"), nn.ReLU()]
        channels = wide
    return Encoder(nn.Sequential(*layers, _Pooled()), 2 * channels, "convolutions over the steps of windows")


def _ids(field: Field) -> Encoder:
    width = _embedding_width(field.size)
    return Encoder(nn.Embedding(max(1, field.size), width), width, "an embedding of ids")


def _tokens(field: Field) -> Encoder:
    width = _WIDEST_EMBEDDING
    layers = [nn.Flatten(), nn.Embedding(max(1, field.size), width), _StepsLast(True)]
    layers += [nn.Conv1d(width, 64, min(3, math.prod(field.shape)), padding="same"), nn.ReLU(), _Pooled()]
    return Encoder(nn.Sequential(*layers), 128, "convolutions over embedded sequences")


def _embedding_width(size: int) -> int:
    return min(_WIDEST_EMBEDDING, max(4, math.ceil(math.sqrt(size))))


class _Numbers(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.to(torch.float32).reshape(x.shape[0], -1)


class _ChannelsFirst(nn.Module):
    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        if self.axis < 0:
            return x.unsqueeze(1)
        return x.permute(0, 3, 1, 2) if self.axis == 2 else x


class _StepsLast(nn.Module):
    def __init__(self, steps_first: bool) -> None:
        super().__init__()
        self.steps_first = steps_first

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2) if self.steps_first else x


class _Pooled(nn.Module):
    """Mean and maximum over steps."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.mean(-1), x.amax(-1)], 1)


class _Mixed(nn.Module):
    """Numbers as they are, and an embedding for each position that holds ids."""

    def __init__(self, field: Field) -> None:
        super().__init__()
        held = dict(field.ids)
        self.positions, self.numbers = list(held), [each for each in range(field.shape[0]) if each not in held]
        widths = [_embedding_width(size) for size in held.values()]
        self.tables = nn.ModuleList(nn.Embedding(size, each) for size, each in zip(held.values(), widths, strict=True))
        self.width = len(self.numbers) + sum(widths)

    def forward(self, x: Tensor) -> Tensor:
        embedded = [table(x[:, at].long()) for table, at in zip(self.tables, self.positions, strict=True)]
        return torch.cat([*([x[:, self.numbers]] if self.numbers else []), *embedded], 1)
