"""Learners that compare rows with the support or read it, each from its paper's equations. The network embeds rows."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor

from tegu.bench.peers.torch_learners.task import HIDDEN, Rows, TorchTree, outputs

__all__ = ["matching_networks", "prototypical_networks", "r2d2", "relation_networks", "snail"]

_WAYS = 5
_WINDOW, _FILTERS = 32, 32


def _prototypes(meta: TorchTree, rows: Rows) -> Tensor:
    """The mean of each label's examples, `[labels, HIDDEN]`."""
    of_label = F.one_hot(rows.y, _WAYS).float()
    return (of_label.T @ outputs(meta, rows.x)) / of_label.sum(0)[:, None]


def prototypical_networks(meta: TorchTree, rows: Rows) -> Tensor:
    """Squared distances from the labels' means."""
    queries, means = outputs(meta, rows.query_x), _prototypes(meta, rows)
    return F.cross_entropy(-(queries[:, None] - means[None]).square().sum(-1), rows.query_y)


def matching_networks(meta: TorchTree, rows: Rows) -> Tensor:
    """Attention to each example by the cosine."""
    examples, queries = (F.normalize(outputs(meta, x), dim=-1) for x in (rows.x, rows.query_x))
    attention = (queries @ examples.T).softmax(-1)
    return F.nll_loss((attention @ F.one_hot(rows.y, _WAYS).float()).log(), rows.query_y)


def relation_networks(meta: TorchTree, rows: Rows) -> Tensor:
    """Scores of a network for each pair of a label's mean and a query, with the paper's squared error."""
    queries, means = outputs(meta, rows.query_x), _prototypes(meta, rows)
    first = means[None].expand(len(queries), _WAYS, HIDDEN)
    second = queries[:, None].expand(len(queries), _WAYS, HIDDEN)
    found = torch.cat([first, second, (first - second).abs()], -1)
    for number in (0, 3):
        layer, norm = f"relation/layers.{number}", f"relation/layers.{number + 1}"
        found = found @ meta[f"{layer}.weight"].T + meta[f"{layer}.bias"]
        found = F.layer_norm(found, (found.shape[-1],), meta[f"{norm}.weight"], meta[f"{norm}.bias"]).relu()
    scores = (found @ meta["relation/layers.6.weight"].T + meta["relation/layers.6.bias"]).squeeze(-1).sigmoid()
    return (scores - F.one_hot(rows.query_y, _WAYS)).square().mean()


def r2d2(meta: TorchTree, rows: Rows) -> Tensor:
    """Ridge regression of one-hot labels, in the form of Woodbury for fewer rows than features."""
    x, query = (F.pad(outputs(meta, each) / math.sqrt(HIDDEN), [0, 1], value=1.0) for each in (rows.x, rows.query_x))
    ridge = meta["r2d2/log_ridge"].exp() * torch.eye(len(rows.x))
    weights = x.T @ torch.linalg.solve(x @ x.T + ridge, F.one_hot(rows.y, _WAYS).float())
    return F.cross_entropy(meta["r2d2/log_scale"].exp() * query @ weights + meta["r2d2/bias"], rows.query_y)


def snail(meta: TorchTree, rows: Rows) -> Tensor:
    """Causal convolutions and attention over support and one query, with the support and without it."""
    labels = F.one_hot(rows.y, _WAYS).float()
    known = torch.cat([outputs(meta, rows.x), labels], 1)
    known = F.pad(known, [0, 0, _WINDOW - len(known), 0])  # the newest row is at the last place
    real = torch.cat([torch.zeros(_WINDOW - len(rows.x)), torch.ones(len(rows.x))])
    asked = F.pad(outputs(meta, rows.query_x), [0, _WAYS])
    sequences = torch.cat([known.expand(len(asked), *known.shape), asked[:, None]], 1)
    losses = []
    for weights in (real, torch.zeros(_WINDOW)):
        shown = torch.cat([weights, torch.ones(1)])
        losses.append(F.cross_entropy(_read(meta, sequences * shown[:, None], shown), rows.query_y))
    return losses[0] + losses[1]


def _read(meta: TorchTree, x: Tensor, shown: Tensor) -> Tensor:
    """Outputs at the last place, `[sequences, outputs]`, of sequences `[sequences, places, channels]`."""
    dilations = [2**power for power in range(math.ceil(math.log2(x.shape[1])))]
    number = 0
    for keys, values, looks in (
        (64, 32, dilations),
        (2 * _FILTERS, _FILTERS, dilations),
        (4 * _FILTERS, 2 * _FILTERS, []),
    ):
        x = torch.cat([x, _attention(meta, number, x, keys, values, shown) * shown[:, None]], -1)
        number += 1
        for dilation in looks:
            x = torch.cat([x, _convolution(meta, number, x, dilation) * shown[:, None]], -1)
            number += 1
    return x[:, -1] @ meta[f"snail/{number}.weight"].T + meta[f"snail/{number}.bias"]


def _attention(meta: TorchTree, number: int, x: Tensor, keys: int, values: int, shown: Tensor) -> Tensor:
    both = x @ meta[f"snail/{number}.weight"].T + meta[f"snail/{number}.bias"]
    query, key, value = torch.split(both, [keys, keys, values], -1)
    places = x.shape[1]
    hidden = torch.ones(places, places).triu(1).bool() | (shown == 0)[None]
    scores = (query @ key.mT / math.sqrt(keys)).masked_fill(hidden, -1e9)
    attended: Tensor = scores.softmax(-1) @ value
    return attended


def _convolution(meta: TorchTree, number: int, x: Tensor, dilation: int) -> Tensor:
    weight, bias = meta[f"snail/{number}.weight"], meta[f"snail/{number}.bias"]
    now, before = torch.split(weight, x.shape[-1], 1)
    past = F.pad(x, [0, 0, dilation, 0])[:, : x.shape[1]]
    content, gate = torch.split(x @ now.T + past @ before.T + bias, _FILTERS, -1)
    gated: Tensor = content.tanh() * gate.sigmoid()
    return gated
