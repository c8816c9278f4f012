"""From a round's replies to one direction: the mean over users, or a robust rule over the nodes.

The mean counts users. A robust rule counts nodes alike, by each node's mean update, with Flower's own functions:

- trimmed_mean, median: Yin et al. 2018, "Byzantine-robust distributed learning", arXiv:1803.01498
- krum, multi_krum: Blanchard et al. 2017, "Machine learning with adversaries", arXiv:1703.02757
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from flwr.server.strategy import aggregate as flower

from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree, add, scale
from tegu.core.errors import UnknownNameError
from tegu.wire import Reply

__all__ = ["Aggregation", "Rule", "aggregate", "check_aggregation"]

Aggregation: TypeAlias = Literal["mean", "trimmed_mean", "median", "krum", "multi_krum"]
_Updates: TypeAlias = list[tuple[list[Array], int]]


class Rule(NamedTuple):
    """How the replies of nodes become one.

    Attributes:
        name: the mean over users, or a robust rule over nodes.
        attackers: share of the nodes that a robust rule allows to be false, from 0 to below 0.5.
    """

    name: Aggregation = "mean"
    attackers: float = 0.3


def check_aggregation(name: str) -> Aggregation:
    """The rule called `name`.

    Raises:
        UnknownNameError: there is none; the message suggests the nearest.
    """
    if name not in get_args(Aggregation):
        raise UnknownNameError("aggregation", name, get_args(Aggregation))
    return name  # type: ignore[return-value] # one of them


def aggregate(replies: Sequence[Reply], rule: Aggregation, attackers: float) -> Tree:
    """The direction of a round, which takes the mean update's place.

    Args:
        replies: checked replies with users, at least one.
        rule: its name.
        attackers: share of the nodes that may be false, from 0 to below 0.5; "mean" and "median" do not use it.
    """
    if rule == "mean":
        total = reduce(add, [reply.update for reply in replies])
        return scale(total, 1 / sum(reply.users for reply in replies))
    names, like = list(replies[0].update), replies[0].update
    updates = [([reply.update[name].astype(np.float64) / reply.users for name in names], 1) for reply in replies]
    found = _RULES[rule](updates, math.ceil(attackers * len(updates)))
    return {name: np.asarray(array, like[name].dtype) for name, array in zip(names, found, strict=True)}


def _trimmed_mean(updates: _Updates, attackers: int) -> list[Array]:
    most = (len(updates) - 1) // 2
    # Flower rounds the number down, so that a quarter of a node is added.
    share = (min(attackers, most) + 0.25) / len(updates) if attackers and most else 0.0
    return list(flower.aggregate_trimmed_avg(updates, share))


def _median(updates: _Updates, attackers: int) -> list[Array]:
    del attackers
    return list(flower.aggregate_median(updates))


def _krum(updates: _Updates, attackers: int) -> list[Array]:
    return list(flower.aggregate_krum(updates, attackers, 0))


def _multi_krum(updates: _Updates, attackers: int) -> list[Array]:
    return list(flower.aggregate_krum(updates, attackers, max(1, len(updates) - attackers)))


_RULES: Mapping[str, Callable[[_Updates, int], list[Array]]] = {
    "trimmed_mean": _trimmed_mean,
    "median": _median,
    "krum": _krum,
    "multi_krum": _multi_krum,
}
