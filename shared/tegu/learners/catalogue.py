"""The built-in learners, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import nn

from tegu.core.data.spec import Spec
from tegu.core.errors import UnknownNameError
from tegu.learners.algorithms.bayesian.bayesian_maml import bayesian_maml
from tegu.learners.algorithms.bayesian.platipus import platipus
from tegu.learners.algorithms.combination import combination
from tegu.learners.algorithms.fast_adaptation.r2d2 import r2d2
from tegu.learners.algorithms.fast_adaptation.snail import snail
from tegu.learners.algorithms.gradient_based.maml import fomaml, maml
from tegu.learners.algorithms.learned_optimiser.lstm_meta_learner import lstm_meta_learner
from tegu.learners.algorithms.learned_optimiser.meta_sgd import meta_sgd
from tegu.learners.algorithms.learned_optimiser.t_net import t_net
from tegu.learners.algorithms.metric.matching_networks import matching_networks
from tegu.learners.algorithms.metric.prototypical_networks import prototypical_networks
from tegu.learners.algorithms.metric.relation_networks import relation_networks
from tegu.learners.algorithms.reptile import reptile
from tegu.learners.algorithms.residual_correction import residual_correction
from tegu.learners.learner import Learner

__all__ = ["LEARNERS", "NETWORK_FROM_SPEC", "find_learner"]

LEARNERS: dict[str, Callable[..., Learner]] = {
    "reptile": reptile,
    "residual_correction": residual_correction,
    "maml": maml,
    "fomaml": fomaml,
    "meta_sgd": meta_sgd,
    "t_net": t_net,
    "lstm_meta_learner": lstm_meta_learner,
    "platipus": platipus,
    "bayesian_maml": bayesian_maml,
    "prototypical_networks": prototypical_networks,
    "matching_networks": matching_networks,
    "relation_networks": relation_networks,
    "r2d2": r2d2,
    "snail": snail,
}

NETWORK_FROM_SPEC = frozenset({"prototypical_networks", "matching_networks", "relation_networks", "r2d2", "snail"})
"""Learners that make a network from the spec if the module is None."""


def find_learner(name: str) -> Callable[..., Learner]:
    """The function that builds the learner called `name`, or a combination of several from names with commas.

    Each learner of a combination gets the options that it has.

    Raises:
        UnknownNameError: no learner has this name; the message suggests the most similar one.
    """
    names = [part.strip() for part in name.split(",")]
    for each in names:
        if each not in LEARNERS:
            raise UnknownNameError("learner", each, LEARNERS)
    return LEARNERS[names[0]] if len(names) == 1 else partial(_combined, names)


def _combined(names: Sequence[str], model: nn.Module | None, spec: Spec, **options: Any) -> Learner:
    def build(function: Callable[..., Learner]) -> Learner:
        known = inspect.signature(function).parameters
        return function(model, spec, **{name: value for name, value in options.items() if name in known})

    return combination([build(LEARNERS[name]) for name in names])
