"""Catalogue of the built-in experiments by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

from tegu.core.errors import DataError, UnknownNameError
from tegu.sim.experiments.catsup import catsup
from tegu.sim.experiments.changing_sines import changing_sines
from tegu.sim.experiments.exercises import exercises
from tegu.sim.experiments.experiment import Experiment
from tegu.sim.experiments.insteval import insteval
from tegu.sim.experiments.movielens import movielens
from tegu.sim.experiments.omniglot.experiment import omniglot
from tegu.sim.experiments.ratings import ratings
from tegu.sim.experiments.shakespeare import shakespeare
from tegu.sim.experiments.sine import sine
from tegu.sim.experiments.two_groups import one_group, two_groups

__all__ = ["EXPERIMENTS", "Build", "experiment_with", "find_experiment"]


class Build(Protocol):
    """A function that builds an experiment."""

    def __call__(self, *, seed: int, rounds: int | None = None, cohort: int | None = None) -> Experiment:
        """Build the experiment; None keeps its own number of rounds or size of the cohort."""


EXPERIMENTS: dict[str, Build] = {
    "catsup": catsup,
    "changing_sines": changing_sines,
    "exercises": exercises,
    "insteval": insteval,
    "movielens": movielens,
    "omniglot": omniglot,
    "one_group": one_group,
    "ratings": ratings,
    "shakespeare": shakespeare,
    "sine": sine,
    "two_groups": two_groups,
}


def find_experiment(name: str) -> Build:
    """Return the function that builds the experiment called `name`.

    Raises:
        UnknownNameError: no such experiment; the message suggests the nearest name.
    """
    if name not in EXPERIMENTS:
        raise UnknownNameError("experiment", name, EXPERIMENTS)
    return EXPERIMENTS[name]


def experiment_with(name: str, options: Mapping[str, Any]) -> Build:
    """Return the function that builds the experiment called `name`, with options of its own.

    Args:
        name: of the experiment.
        options: its own options, such as `data` and `ways` of omniglot.

    Raises:
        DataError: the experiment has no such option.
        UnknownNameError: no such experiment.
    """
    build = find_experiment(name)
    for option in options:
        if option not in inspect.signature(build).parameters:
            those = [each for each, other in EXPERIMENTS.items() if option in inspect.signature(other).parameters]
            raise DataError(f"{name} has no --{option}: expected it with {' or '.join(those)} only; leave it out")
    return partial(build, **options)
