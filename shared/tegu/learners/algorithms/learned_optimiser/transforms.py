"""Transforms of a module's layers: which layers have one, and the module's parameters with the transforms in them."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from torch import Tensor, nn

from tegu.learners.learner import TorchBatch, TorchTree
from tegu.learners.modules.functional import Applied
from tegu.learners.modules.losses import Loss

__all__ = ["Layer", "find_layers", "loss_with_transforms", "transform_entry", "with_transforms"]


class Layer(NamedTuple):
    """A linear or convolutional layer.

    Attributes:
        weight: name of its weight, `[out, ...]`.
        bias: name of its bias, `[out]`; empty without one.
        out: number of its units or channels.
    """

    weight: str
    bias: str
    out: int


def transform_entry(layer: Layer) -> str:
    """The name of the entry of `meta` that holds the layer's transform, `[out, out]`."""
    return f"{layer.weight}/transform"


def find_layers(module: nn.Module, adapted: Collection[str]) -> tuple[Layer, ...]:
    """The layers of the module whose weight is among `adapted`.

    Grouped and transposed convolutions have none, because their outputs are not what rows of the weight give.
    """
    own = dict(module.named_parameters())
    found = []
    for prefix, layer in module.named_modules():
        start = f"{prefix}." if prefix else ""
        plain = isinstance(layer, nn.Linear) or (
            isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d) and layer.groups == 1
        )
        if plain and f"{start}weight" in adapted:
            bias = f"{start}bias" if f"{start}bias" in own else ""
            found.append(Layer(f"{start}weight", bias, len(own[f"{start}weight"])))
    return tuple(found)


def with_transforms(layers: Collection[Layer], parameters: TorchTree) -> TorchTree:
    """The parameters with T W in place of W and T b in place of b, which is the layer T (W x + b)."""
    changed = dict(parameters)
    for layer in layers:
        transform = parameters[transform_entry(layer)]
        weight = parameters[layer.weight]
        changed[layer.weight] = (transform @ weight.flatten(1)).reshape(weight.shape)
        if layer.bias:
            changed[layer.bias] = (transform @ parameters[layer.bias].unsqueeze(-1)).squeeze(-1)
    return changed


def loss_with_transforms(loss: Loss, layers: Collection[Layer]) -> Loss:
    """`loss` of a module whose layers are transformed."""

    def transformed(apply: Applied, batch: TorchBatch, support: TorchBatch | None = None) -> Tensor:
        own = Applied(apply.model, with_transforms(layers, apply.parameters), apply.lookup)
        return loss(own, batch, support)

    return transformed
