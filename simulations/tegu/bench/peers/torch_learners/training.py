"""A loop of rounds: draw tasks, average the gradients of their losses, take a step of Adam."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.func import grad, vmap

from tegu.bench.peers.torch_learners import by_examples, by_gradients
from tegu.bench.peers.torch_learners.task import Rows, TorchTree
from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree

__all__ = ["LOSSES", "Tasks", "train", "update"]

_Loss = Callable[[TorchTree, Rows], Tensor]

LOSSES: Mapping[str, _Loss] = {
    "maml": by_gradients.maml,
    "fomaml": by_gradients.fomaml,
    "meta_sgd": by_gradients.meta_sgd,
    "t_net": by_gradients.t_net,
    "lstm_meta_learner": by_gradients.lstm_meta_learner,
    "platipus": by_gradients.platipus,
    "bayesian_maml": by_gradients.bayesian_maml,
    "prototypical_networks": by_examples.prototypical_networks,
    "matching_networks": by_examples.matching_networks,
    "relation_networks": by_examples.relation_networks,
    "r2d2": by_examples.r2d2,
    "snail": by_examples.snail,
}
"""The learners that follow the gradient of a loss: all but Reptile."""


class Tasks(NamedTuple):
    """Tasks of as many labels, with as many rows each.

    Attributes:
        x: float32 `[tasks, labels, rows, features]`.
        shots: rows of each label that are the support.
    """

    x: Array
    shots: int


def update(name: str, meta: TorchTree, rows: Rows) -> TorchTree:
    """The mean over tasks of the learner's update; `rows` has a first axis of tasks."""
    if name == "reptile":
        moved: TorchTree = vmap(lambda each: by_gradients.reptile(meta, Rows(*each)))(tuple(rows))
        return {key: value.mean(0) for key, value in moved.items()}
    loss = LOSSES[name]

    def mean_loss(tree: TorchTree) -> Tensor:
        losses: Tensor = vmap(lambda *each: loss(tree, Rows(*each)))(*rows)
        return losses.mean()

    found: TorchTree = grad(mean_loss)(meta)
    return found


def train(name: str, tasks: Tasks, meta: Tree, *, rounds: int, cohort: int, lr: float, noise: int = 0) -> Tree:
    """Rounds of Adam.

    Args:
        name: of the learner.
        tasks: to draw from.
        meta: the first parameters, by the learner's names.
        rounds: of training.
        cohort: tasks of a round.
        lr: step size.
        noise: standard normal numbers of a task.
    """
    rng = np.random.default_rng(0)
    values = {key: torch.tensor(value, requires_grad=True) for key, value in meta.items()}
    optimiser = torch.optim.Adam(values.values(), lr=lr)
    for _ in range(rounds):
        rows = _drawn(tasks, cohort, noise, rng)
        found = update(name, {key: value.detach() for key, value in values.items()}, rows)
        for key, value in values.items():
            value.grad = found[key]
        optimiser.step()
    return {key: value.detach().numpy() for key, value in values.items()}


def _drawn(tasks: Tasks, cohort: int, noise: int, rng: np.random.Generator) -> Rows:
    chosen = rng.choice(len(tasks.x), cohort, replace=False)
    labels, rows = tasks.x.shape[1:3]
    order = rng.permuted(np.tile(np.arange(rows), (cohort, labels, 1)), axis=-1)
    x = np.take_along_axis(tasks.x[chosen], order[..., None], 2)
    support, query = np.split(x, [tasks.shots], 2)
    y = [np.tile(np.repeat(np.arange(labels), part.shape[2]), (cohort, 1)) for part in (support, query)]
    x_of = [part.reshape(cohort, -1, part.shape[-1]) for part in (support, query)]
    drawn = rng.standard_normal((cohort, noise)).astype(np.float32)
    return Rows(*map(torch.from_numpy, (x_of[0], y[0], x_of[1], y[1], drawn)))
