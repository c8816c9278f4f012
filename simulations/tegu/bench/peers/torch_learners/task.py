"""The rows of a task, and the network that all of these learners train."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

__all__ = ["HIDDEN", "Rows", "TorchTree", "build_network", "hidden", "outputs"]

TorchTree: TypeAlias = dict[str, Tensor]
HIDDEN = 64


class Rows(NamedTuple):
    """The rows of one task, or of several with a first axis more.

    Attributes:
        x: `[support, features]`.
        y: `[support]`, labels.
        query_x: `[query, features]`.
        query_y: `[query]`, labels.
        noise: `[entries]`, standard normal numbers.
    """

    x: Tensor
    y: Tensor
    query_x: Tensor
    query_y: Tensor
    noise: Tensor


def build_network(features: int, outputs: int) -> nn.Sequential:
    """Two hidden layers. With `HIDDEN` outputs it is an embedding, and otherwise a classifier."""
    layers = [nn.Linear(features, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(HIDDEN, outputs))


def hidden(tree: TorchTree, x: Tensor) -> Tensor:
    """The second hidden layer, `[rows, HIDDEN]`."""
    for number in (0, 2):
        x = torch.relu(x @ tree[f"{number}.weight"].T + tree[f"{number}.bias"])
    return x


def outputs(tree: TorchTree, x: Tensor) -> Tensor:
    """What `build_network` computes."""
    return hidden(tree, x) @ tree["4.weight"].T + tree["4.bias"]
