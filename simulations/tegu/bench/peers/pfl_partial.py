"""Reptile where only some parameters adapt, as a pfl algorithm: what `reptile` calls a partial update.

The fast parameters take gradient steps on the support. The others follow the gradient of the query loss through those
steps (second order); items of the support are not offered in the query.
"""

from __future__ import annotations

from typing import Any

import torch
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.metrics import Metrics
from pfl.stats import MappedVectorStatistics
from torch import Tensor

from tegu.bench.tasks.episodes import episode_in_round
from tegu.bench.tasks.task import Work

__all__ = ["PartialReptile"]

_OUT = -1e4  # as in tegu.learners.modules.losses


class PartialReptile(FederatedAveraging):  # type: ignore[misc] # pfl ships no types
    """For the model `FilmTaste`, whose catalogue is scored as a whole: `film @ user + bias`.

    Args:
        work: steps, step size and the split into support and query.
    """

    def __init__(self, work: Work) -> None:
        super().__init__()
        self._work = work

    def train_one_user(
        self, initial_model_state: Any, model: Any, user_dataset: Any, central_context: Any
    ) -> tuple[MappedVectorStatistics, Metrics]:
        """The user's difference: adapted less first values, and for the others less their gradient."""
        del initial_model_state
        number = central_context.current_central_iteration + 1
        x, y = user_dataset.raw_data
        support, query = episode_in_round(self._work, number, user_dataset.user_id, x.numpy(), y.numpy())
        parameters = model.variable_map
        slow = [parameters["film.weight"], parameters["bias.weight"]]
        first = parameters["user"].detach().requires_grad_()
        seen = torch.from_numpy(support.x)
        adapted = self._adapted(slow, first, seen, torch.from_numpy(support.y))
        loss = _click_loss(slow, adapted, torch.from_numpy(query.x), torch.from_numpy(query.y), seen)
        gradients = torch.autograd.grad(loss, slow)
        moved = {"film.weight": -gradients[0], "bias.weight": -gradients[1], "user": (adapted - first).detach()}
        return MappedVectorStatistics(moved), Metrics()

    def _adapted(self, slow: list[Tensor], user: Tensor, x: Tensor, y: Tensor) -> Tensor:
        rate = self._work.lr * len(x) / (len(x) + self._work.prior)
        for _ in range(self._work.steps):
            (gradient,) = torch.autograd.grad(_click_loss(slow, user, x, y), user, create_graph=True)
            user = user - rate * gradient
        return user


def _click_loss(slow: list[Tensor], user: Tensor, x: Tensor, y: Tensor, seen: Tensor | None = None) -> Tensor:
    film, bias = slow
    scores = film @ user + bias.squeeze(-1)
    if seen is not None:
        out = torch.zeros(len(scores))
        out[seen] = _OUT
        scores = scores + out
    return -(torch.log_softmax(scores, -1)[x] * y).mean()
