"""Reptile where only some parameters adapt, as a pfl algorithm.

The adapted parameters take gradient steps on the support. The update of the others is the gradient of the query loss
through these steps (second order). Items of the support are excluded from the scores of the query.
"""

from __future__ import annotations

from typing import Any

import torch
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.metrics import Metrics
from pfl.stats import MappedVectorStatistics
from torch import Tensor

from tegu.bench.tasks.episodes import episode_in_round
from tegu.bench.tasks.task import TaskSettings

__all__ = ["PartialReptile"]

_EXCLUDED = -1e4  # as in tegu.learners.modules.losses


class PartialReptile(FederatedAveraging):  # type: ignore[misc] # pfl ships no types
    """For the model `FilmTaste`, which scores the whole catalogue at once: `film @ user + bias`.

    Args:
        settings: steps, learning rate and the split into support and query.
    """

    def __init__(self, settings: TaskSettings) -> None:
        super().__init__()
        self._settings = settings

    def train_one_user(
        self, initial_model_state: Any, model: Any, user_dataset: Any, central_context: Any
    ) -> tuple[MappedVectorStatistics, Metrics]:
        """The user's update: adapted minus initial values, and the negative gradient of the other parameters."""
        del initial_model_state
        round_number = central_context.current_central_iteration + 1
        x, y = user_dataset.raw_data
        support, query = episode_in_round(self._settings, round_number, user_dataset.user_id, x.numpy(), y.numpy())
        parameters = model.variable_map
        shared = [parameters["film.weight"], parameters["bias.weight"]]
        initial = parameters["user"].detach().requires_grad_()
        seen = torch.from_numpy(support.x)
        adapted = self._adapted(shared, initial, seen, torch.from_numpy(support.y))
        loss = _click_loss(shared, adapted, torch.from_numpy(query.x), torch.from_numpy(query.y), seen)
        gradients = torch.autograd.grad(loss, shared)
        update = {"film.weight": -gradients[0], "bias.weight": -gradients[1], "user": (adapted - initial).detach()}
        return MappedVectorStatistics(update), Metrics()

    def _adapted(self, shared: list[Tensor], user: Tensor, x: Tensor, y: Tensor) -> Tensor:
        rate = self._settings.lr * len(x) / (len(x) + self._settings.prior)
        for _ in range(self._settings.steps):
            (gradient,) = torch.autograd.grad(_click_loss(shared, user, x, y), user, create_graph=True)
            user = user - rate * gradient
        return user


def _click_loss(shared: list[Tensor], user: Tensor, x: Tensor, y: Tensor, seen: Tensor | None = None) -> Tensor:
    film, bias = shared
    scores = film @ user + bias.squeeze(-1)
    if seen is not None:
        offset = torch.zeros(len(scores))
        offset[seen] = _EXCLUDED
        scores = scores + offset
    return -(torch.log_softmax(scores, -1)[x] * y).mean()
