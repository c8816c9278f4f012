"""The models of all works, in torch, and the loss that those of class labels are trained on."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn

from tegu.core.data.spec import Spec

__all__ = ["MODELS", "Kind", "loss_of"]

_FILMS = 1500


class Kind(NamedTuple):
    """A model and what it takes and gives."""

    build: Callable[[], nn.Module]
    spec: Spec


def mlp() -> nn.Module:
    """64-64-10, one hidden layer of rectified units."""
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def femnist_cnn() -> nn.Module:
    """LEAF's network for FEMNIST (Caldas et al. 2018), its hidden layer 256 wide: 62 classes of 28 x 28 pixels."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 5, padding="same"), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 5, padding="same"), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(64 * 7 * 7, 256), nn.ReLU(), nn.Linear(256, 62)),
    )


def film_taste() -> nn.Module:
    """The experiment's own. Imported when it is built: a peer's process is not to carry Tegu's simulator about."""
    from tegu.sim.experiments.movielens import FACTORS, FilmTaste  # noqa: PLC0415 # as above

    return FilmTaste(_FILMS, FACTORS)


MODELS = {
    "mlp": Kind(mlp, Spec.classification((64,), 10)),
    "cnn": Kind(femnist_cnn, Spec.classification((1, 28, 28), 62)),
    "films": Kind(film_taste, Spec.ranking(_FILMS)),
}


def loss_of(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The mean loss that a work of class labels is trained on, in torch's own words."""
    return nn.functional.cross_entropy(model(x), y)
