"""The models of all tasks in torch, and the loss of the classification tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn

from tegu.core.data.spec import Spec

__all__ = ["MODELS", "TaskModel", "cross_entropy"]

_FILMS = 1500


class TaskModel(NamedTuple):
    """A model and its data specification.

    Attributes:
        build: builds the model, with parameters of torch's own initialisation.
        spec: the rows that it takes and the outputs that it gives.
    """

    build: Callable[[], nn.Module]
    spec: Spec


def build_mlp() -> nn.Module:
    """64-64-10, with one hidden layer of rectified linear units."""
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def build_femnist_cnn() -> nn.Module:
    """LEAF's network for FEMNIST (Caldas et al. 2018) with a hidden layer of 256: 62 classes of 28 x 28 pixels."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 5, padding="same"), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 5, padding="same"), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(64 * 7 * 7, 256), nn.ReLU(), nn.Linear(256, 62)),
    )


def build_film_model() -> nn.Module:
    """The model of the experiment `movielens`."""
    # Imported here, because a peer's process should not load Tegu's simulator: it would count in its memory.
    from tegu.sim.experiments.models.film_taste import FilmTaste  # noqa: PLC0415 # only for this task
    from tegu.sim.experiments.movielens import FACTORS  # noqa: PLC0415 # only for this task

    return FilmTaste(_FILMS, FACTORS)


MODELS = {
    "mlp": TaskModel(build_mlp, Spec.classification((64,), 10)),
    "cnn": TaskModel(build_femnist_cnn, Spec.classification((1, 28, 28), 62)),
    "films": TaskModel(build_film_model, Spec.ranking(_FILMS)),
}


def cross_entropy(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The mean cross-entropy of the model's logits for `x`, the training loss of the classification tasks."""
    return nn.functional.cross_entropy(model(x), y)
