"""Layers of SNAIL: dense blocks of causal convolutions, and causal attention, over a sequence that a query ends.

A layer's output at a place depends on this place and on earlier ones. The support's places are therefore computed once,
and every query, as if it were the next place, needs only what each layer keeps of them:

    convolution  the input at the place that it looks back to
    attention    keys and values of all places

Sequences are `[places, channels]` and end with the newest row. Places without a row are zero in every layer, which is
what a causal convolution sees before a sequence begins.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor, nn

from tegu.learners.learner import TorchTree
from tegu.learners.operators.tensors.pieces import concatenate, narrow

__all__ = ["FIRST_KEYS", "Attention", "Convolution", "Layer", "after", "layers_of", "parameters_of", "read_sequence"]

FIRST_KEYS = 64  # length of a key of the first attention
_EXCLUDED = -1e9  # added to the attention to a place without a row


@dataclass(frozen=True)
class Convolution:
    """A dense block: a causal convolution of kernel 2 with gated activations, beside its input.

    Attributes:
        channels: of the input.
        filters: that the output has more.
        dilation: how many places the kernel looks back.
    """

    channels: int
    filters: int
    dilation: int

    @property
    def outputs(self) -> int:
        """Channels of the output."""
        return self.channels + self.filters


@dataclass(frozen=True)
class Attention:
    """Causal attention with one head, beside its input.

    Attributes:
        channels: of the input.
        keys: length of a key.
        values: length of a value, which the output has more.
    """

    channels: int
    keys: int
    values: int

    @property
    def outputs(self) -> int:
        """Channels of the output."""
        return self.channels + self.values


Layer: TypeAlias = Convolution | Attention


def layers_of(channels: int, places: int, filters: int) -> tuple[Layer, ...]:
    """The layers of the paper's network for few-shot classification, in which `filters` is 128.

    Args:
        channels: of the sequence.
        places: length of the sequence, the query included.
        filters: of a convolution. Attention has keys and values in the paper's ratio to it.
    """
    found = list[Layer]()
    powers = range(math.ceil(math.log2(places)))  # they look back to the first place
    for keys, values, convolutions in (
        (FIRST_KEYS, 32, powers),
        (2 * filters, filters, powers),
        (4 * filters, 2 * filters, ()),
    ):
        found.append(Attention(channels, keys, values))
        for power in convolutions:
            found.append(Convolution(found[-1].outputs, filters, 2**power))
        channels = found[-1].outputs
    return tuple(found)


def parameters_of(layers: tuple[Layer, ...], outputs: int) -> nn.ModuleList:
    """The layers' parameters as linear layers, and the output layer's."""
    found = [
        nn.Linear(2 * each.channels, 2 * each.filters)
        if isinstance(each, Convolution)
        else nn.Linear(each.channels, 2 * each.keys + each.values)
        for each in layers
    ]
    return nn.ModuleList([*found, nn.Linear(layers[-1].outputs, outputs)])


def read_sequence(layers: tuple[Layer, ...], parameters: TorchTree, x: Tensor, weights: Tensor) -> TorchTree:
    """What each layer keeps of the support's places.

    Args:
        layers: from `layers_of`.
        parameters: of `parameters_of`, by name.
        x: `[places, channels]`.
        weights: `[places]`, the weight of each row; 0 for a place without a row.
    """
    kept: TorchTree = {"weights": weights * 1}
    places = torch.arange(x.shape[0], device=x.device)
    later = (places.unsqueeze(0) > places.unsqueeze(1)).to(x.dtype) * _EXCLUDED
    x = x * weights.unsqueeze(-1)
    for number, layer, weight, bias in _numbered(layers, parameters):
        if isinstance(layer, Convolution):
            kept[f"{number}/past"] = narrow(x, 0, x.shape[0] - layer.dilation, 1).squeeze(0)
            past = F.pad(x, [0, 0, layer.dilation, -layer.dilation])
            added = _gated(layer, weight, bias, x, past)
        else:
            query, key, value = _projected(layer, weight, bias, x)
            kept |= {f"{number}/keys": key, f"{number}/values": value}
            scores = query @ key.T / math.sqrt(layer.keys) + later + _log(weights)
            added = torch.softmax(scores, -1) @ value
        x = concatenate([x, added * weights.unsqueeze(-1)], 1)
    return kept


def after(layers: tuple[Layer, ...], parameters: TorchTree, kept: TorchTree, x: Tensor) -> Tensor:
    """The network's outputs for rows of which each is the next place, `[rows, outputs]`.

    Args:
        layers: from `layers_of`.
        parameters: of `parameters_of`, by name.
        kept: from `read_sequence`.
        x: `[rows, channels]`.
    """
    for number, layer, weight, bias in _numbered(layers, parameters):
        if isinstance(layer, Convolution):
            added = _gated(layer, weight, bias, x, kept[f"{number}/past"])
        else:
            query, key, value = _projected(layer, weight, bias, x)
            keys, values = kept[f"{number}/keys"], kept[f"{number}/values"]
            before = query @ keys.T / math.sqrt(layer.keys) + _log(kept["weights"])
            own = (query * key).sum(-1, keepdim=True) / math.sqrt(layer.keys)
            shares = torch.softmax(concatenate([own, before], 1), -1)
            added = narrow(shares, 1, 0, 1) * value + narrow(shares, 1, 1, values.shape[0]) @ values
        x = concatenate([x, added], 1)
    last = len(layers)
    return x @ parameters[f"{last}.weight"].T + parameters[f"{last}.bias"]


def _numbered(layers: tuple[Layer, ...], parameters: TorchTree) -> Iterator[tuple[int, Layer, Tensor, Tensor]]:
    for number, layer in enumerate(layers):
        yield number, layer, parameters[f"{number}.weight"], parameters[f"{number}.bias"]


def _gated(layer: Convolution, weight: Tensor, bias: Tensor, x: Tensor, past: Tensor) -> Tensor:
    """Tanh of one convolution times the sigmoid of another, `[places, filters]`."""
    now, before = weight.reshape(2 * layer.filters, 2, layer.channels).unbind(1)
    both = (x @ now.T + past @ before.T + bias).reshape(-1, 2, layer.filters)
    content, gate = both.unbind(1)
    return torch.tanh(content) * torch.sigmoid(gate)


def _projected(layer: Attention, weight: Tensor, bias: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of each place."""
    both = x @ weight.T + bias
    ends = (layer.keys, 2 * layer.keys, 2 * layer.keys + layer.values)
    first, second, third = (narrow(both, 1, start, end - start) for start, end in zip((0, *ends), ends, strict=False))
    return first, second, third


def _log(weights: Tensor) -> Tensor:
    """Logarithms of weights, and a number that attention makes 0 of for a weight of 0."""
    return torch.where(weights > 0, torch.where(weights > 0, weights, 1.0).log(), _EXCLUDED)
