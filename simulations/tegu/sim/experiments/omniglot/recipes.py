"""How each learner trains on tasks of characters.

Network, outer rate and ways were chosen for prototypical networks, steps and rates for MAML, FOMAML and Reptile, with
two of the alphabets that train as validation. The others take them over. Numbers of rounds are what two cores could
pay. Records 060, 061, 073 and 074 have what was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from tegu.server.training.outer_optimiser import OuterRule
from tegu.sim.experiments.omniglot.network import Channels, Shrink

__all__ = ["RECIPES", "Recipe", "recipe_for"]


class Recipe(NamedTuple):
    """How a learner trains.

    Attributes:
        rounds: of training.
        cohort: tasks of a round.
        outer: the outer optimiser.
        ways: characters of a training task. More than a held-out task has are possible for learners whose parameters do
            not depend on the labels (Snell et al. 2017). None for as many as a held-out task has.
        shots: most examples of each character in training; None for as many as are evaluated.
        queries: query drawings of each character in training.
        channels: of each convolution.
        shrink: see `four_convolutions`.
        options: of the learner.
    """

    rounds: int
    cohort: int
    outer: OuterRule
    ways: int | None = None
    shots: int | None = None
    queries: int = 5
    channels: Channels = (32, 32, 32, 32)
    shrink: Shrink = "pool"
    options: Mapping[str, Any] = MappingProxyType({})


_ADAM = OuterRule("Adam", 2e-3, averaged=True)
_EPISODIC = Recipe(2500, 1, _ADAM, ways=20, shots=1, channels=(64, 64, 64, 64))
_BY_STEPS = Recipe(
    2500, 4, OuterRule("Adam", 3e-3, averaged=True), shots=1, shrink="stride", options={"steps": 1, "lr": 0.4}
)
_HEAD_STAYS = {"untrained_parameters": ["13.*"]}  # at zero, where no label is better off than another
_HEAD_ALONE = _BY_STEPS._replace(rounds=1000, options={"steps": 3, "lr": 0.4, "adapted_parameters": ["13.*"]})

RECIPES: Mapping[str, Recipe] = {
    "prototypical_networks": _EPISODIC._replace(rounds=7000, channels=(32, 64, 128, 256)),
    "matching_networks": _EPISODIC._replace(rounds=1500, options={"temperature": 0.1}),
    "relation_networks": _EPISODIC._replace(rounds=1500),
    "r2d2": _EPISODIC._replace(rounds=1500),
    "snail": Recipe(1200, 16, OuterRule("Adam", 1e-3, averaged=True), shots=1, queries=3, shrink="stride"),
    "maml": _BY_STEPS,
    "fomaml": _BY_STEPS._replace(rounds=4000, options={"steps": 1, "lr": 0.4, **_HEAD_STAYS}),
    "meta_sgd": _BY_STEPS,
    "t_net": _BY_STEPS,
    "platipus": _HEAD_ALONE,
    "bayesian_maml": _HEAD_ALONE,
    "lstm_meta_learner": _HEAD_ALONE,
    "residual_correction": _BY_STEPS._replace(options={}),
    "reptile": _BY_STEPS._replace(rounds=4000, options={"steps": 2, "lr": 0.4, "minibatches": 2, **_HEAD_STAYS}),
}
"""By name of a learner."""


def recipe_for(learner: str) -> Recipe:
    """The recipe of a learner, or one for gradient steps if it has none of its own; a combination has its first's."""
    return RECIPES.get(learner.partition(",")[0], _BY_STEPS)
