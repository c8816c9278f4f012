"""The sum of many users' updates that nobody clips; as one gradient, where the learner has an objective."""

from __future__ import annotations

from collections.abc import Collection

import torch

from tegu.learners.learner import Learner, Objective, TorchTree
from tegu.learners.objectives import sum_over_users
from tegu.learners.rows import whole_parameters
from tegu.server.compile.capture import Function, Named
from tegu.server.compile.naming import named, pick, pick_batch

__all__ = ["summed", "summed_at_once"]


def summed_at_once(learner: Learner, objective: Objective) -> Function:
    """Sums over users by one gradient: meta, support and query `[users, ...]` -> `update.<name>`.

    Tables by rows are not summed: each user's rows `[users, touched, ...]` stay beside their ids.

    Args:
        learner: whose `fast` parameters moved.
        objective: the learner's.
    """
    update = sum_over_users(objective, learner.fast)

    def total(values: Named) -> Named:
        found = update(pick("meta", values), pick_batch("support", values), pick_batch("query", values), torch.zeros(0))
        return _summed(found, learner.fast)

    return total


def summed(updates: Function) -> Function:
    """The same of the updates `[users, ...]` that a function gives."""

    def total(values: Named) -> Named:
        found = dict(updates(values))
        return _summed(found, list(found))

    return total


def _summed(found: TorchTree, names: Collection[str]) -> Named:
    sums = {name: value.sum(0) for name, value in whole_parameters(found).items() if name in names}
    # A graph's output may not be its input, which ids can be.
    return named("update", {name: value.clone() for name, value in {**found, **sums}.items()})
