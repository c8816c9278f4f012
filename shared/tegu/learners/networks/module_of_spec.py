"""The module that is trained if none is given, made from the spec alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tegu.core.data.spec import Spec
from tegu.learners.networks.input_encoders import Encoder, encoder_of

__all__ = ["DefaultModule", "default_module"]

_WIDTH = 64


class DefaultModule(NamedTuple):
    """A module, and what it is in words.

    Attributes:
        module: maps the spec's inputs to `[rows, outputs]`. Its parameters are drawn from torch's generator.
        text: for a note.
    """

    module: nn.Module
    text: str


def default_module(spec: Spec, outputs: int | None = None) -> DefaultModule:
    """An encoder for each input, and two hidden layers over all of their features.

    Args:
        spec: for any kind but a ranking.
        outputs: number of outputs, as of an embedding network; None means `spec.outputs`.
    """
    outputs = spec.outputs if outputs is None else outputs
    if spec.inputs:
        encoders = {name: encoder_of(field) for name, field in spec.inputs}
        texts = dict.fromkeys(each.text for each in encoders.values())
        width = sum(each.width for each in encoders.values())
        return DefaultModule(_SeveralInputs(encoders, _head(width, outputs)), _sentence(" and ".join(texts)))
    found = encoder_of(spec.x)
    module = nn.Sequential(found.module, _head(found.width, outputs))
    return DefaultModule(module, _sentence(found.text))


def _sentence(text: str) -> str:
    return f"a network of hidden layers over {text}"


def _head(width: int, outputs: int) -> nn.Module:
    first = nn.Sequential(nn.Linear(width, _WIDTH), nn.ReLU())
    return nn.Sequential(first, _Residual(_WIDTH), nn.Linear(_WIDTH, outputs))


class _Residual(nn.Module):
    """A normalised hidden layer that is added to its input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = x + self.layers(x)
        return changed


class _SeveralInputs(nn.Module):
    """One encoder for each named input."""

    def __init__(self, encoders: Mapping[str, Encoder], head: nn.Module) -> None:
        super().__init__()
        self.names = list(encoders)
        self.encoders = nn.ModuleList(each.module for each in encoders.values())
        self.head = head

    def forward(self, *inputs: Tensor) -> Tensor:
        encoded = [encoder(x) for encoder, x in zip(self.encoders, inputs, strict=True)]
        output: Tensor = self.head(torch.cat(encoded, 1))
        return output
