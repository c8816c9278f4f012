"""A row of the zoo: a small model, its input, and whether it can be personalised."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tegu.core.data.spec import Spec

__all__ = ["IMAGE", "NUMBERS", "SEQUENCE", "SERIES", "TOKENS", "VOLUME", "Entry", "ended", "mlp", "module"]

# Input layouts that most models share.
NUMBERS = Spec.classification((4,), 3)
IMAGE = Spec.classification((2, 8, 8), 3)
SERIES = Spec.classification((2, 8), 3)
VOLUME = Spec.classification((2, 4, 4, 4), 3)
SEQUENCE = Spec.classification((5, 4), 3)
TOKENS = Spec.classification((6,), 3, tokens=11)


class Entry(NamedTuple):
    """A small model.

    Attributes:
        name: unique in the zoo.
        build: makes the module; weights are drawn from torch's global generator.
        spec: the module's inputs and outputs.
        loss: (output, y) -> `[rows]`. None means the default of `spec.kind`.
        refused: None where the model works. Otherwise a part of the message of the error that refuses it.
    """

    name: str
    build: Callable[[], nn.Module]
    spec: Spec = NUMBERS
    loss: Callable[[Tensor, Tensor], Tensor] | None = None
    refused: str | None = None


def mlp(*layers: nn.Module, width: int = 6) -> nn.Sequential:
    """A classifier of four numbers with `layers` in its middle; they give `width` features."""
    return nn.Sequential(nn.Linear(4, 6), *layers, nn.Linear(width, 3))


def ended(spec: Spec, *layers: nn.Module) -> nn.Sequential:
    """`layers`, then a linear layer that fits what they return."""
    body = nn.Sequential(*layers, nn.Flatten())
    with torch.no_grad():
        width = body.eval()(torch.zeros((1, *spec.x.shape))).shape[1]
    return body.append(nn.Linear(width, spec.outputs))


def module(function: Callable[[nn.Module, Tensor], Tensor], **parts: nn.Module | nn.Parameter) -> nn.Module:
    """A module with `parts` as attributes, whose forward is `function(self, x)`."""

    class Written(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return function(self, x)

    made = Written()
    for name, part in parts.items():
        setattr(made, name, part)
    return made
