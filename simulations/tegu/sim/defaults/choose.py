"""Which learner `simulate` trains: for a module, or for a population alone."""

from __future__ import annotations

import numpy as np
from torch import nn

from tegu.core.data.spec import Spec
from tegu.core.notes import note
from tegu.learners.algorithms.implicit_als import implicit_als
from tegu.learners.algorithms.item_ratings import item_ratings
from tegu.learners.learner import Learner
from tegu.learners.modules.initial_values import Init
from tegu.learners.modules.named_output import OutputName
from tegu.sim.data.population import Population
from tegu.sim.data.scaling import scaling_of_users
from tegu.sim.defaults.for_module import learner_for_module
from tegu.sim.defaults.module_of_spec import default_module

__all__ = ["choose_learner"]


def choose_learner(
    population: Population,
    learner: Learner | nn.Module | None,
    seed: int,
    init: Init = "module",
    standardise: bool | None = None,
    output: OutputName | None = None,
) -> Learner:
    """The learner itself, that of a module, or the default for the population.

    Args:
        population: all users. Only training users' rows are read.
        learner: a learner, a module, or None for the default.
        seed: of the split.
        init: where training of a module starts; see `reptile`. A default module has no parameters worth keeping.
        standardise: see `learner_for_module`.
        output: as in `reptile`.

    Raises:
        CompileError: as `reptile`.
        DataError: as `reptile`.
        UnknownNameError: no such `init`.
    """
    if isinstance(learner, Learner):
        return learner
    if learner is not None:
        found = learner_for_module(learner, population, seed, init, standardise, output)
        start = "its own parameters" if init == "module" else f"parameters drawn anew from seed {seed}"
        note(f"training of the module starts from {start}")
        return found
    if population.spec.kind == "ranking":
        return _ranking(population.spec)
    if _is_rating(population.spec):
        return _ratings(population, seed)
    made = default_module(population.spec)
    note(f"no module is given: {made.text} is trained; pass a torch module for another one")
    return learner_for_module(made.module, population, seed, "fresh", standardise)


def _is_rating(spec: Spec) -> bool:
    return spec.kind == "regression" and bool(spec.items) and spec.outputs == 1


def _ratings(population: Population, seed: int) -> Learner:
    train = population.split(seed).train
    _, scale = scaling_of_users(train, seed)
    level, deviation = (1.0, 1.0) if scale is None else (float(np.ravel(each)[0]) for each in (scale.mean, scale.std))
    note("no module is given: effects of items, a person's level and taste by ridge are trained (item_ratings)")
    return item_ratings(population.spec, level=level, scale=deviation, users=len(train))


def _ranking(spec: Spec) -> Learner:
    note("no module is given: vectors of items and their popularity are trained, and a person's vector is solved for")
    return implicit_als(spec)
