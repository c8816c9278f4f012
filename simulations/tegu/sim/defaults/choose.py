"""Which learner `simulate` trains: for a module, or for a population alone."""

from __future__ import annotations

from torch import nn

from tegu.core.data.spec import Spec
from tegu.core.notes import note
from tegu.learners.algorithms.implicit_als import implicit_als
from tegu.learners.learner import Learner
from tegu.learners.modules.initial_values import Init
from tegu.learners.modules.named_output import OutputName
from tegu.learners.networks.module_of_spec import default_module
from tegu.sim.data.population import Population
from tegu.sim.defaults.for_module import learner_for_module
from tegu.sim.defaults.for_ratings import learner_for_ratings

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
        note("no module is given: item vectors and popularity are trained, a user's vector adapts (implicit_als)")
        return implicit_als(population.spec)
    if _is_rating(population.spec):
        note(
            "no module is given: effects of items, a person's level, spread and taste by ridge are trained "
            "(item_ratings)"
        )
        return learner_for_ratings(population, seed)
    made = default_module(population.spec)
    note(f"no module is given: {made.text} is trained; pass a torch module for another one")
    return learner_for_module(made.module, population, seed, "fresh", standardise)


def _is_rating(spec: Spec) -> bool:
    return spec.kind == "regression" and bool(spec.items) and spec.outputs == 1
