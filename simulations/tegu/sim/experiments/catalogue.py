"""Catalogue of the built-in experiments by name."""

from __future__ import annotations

from typing import Protocol

from tegu.core.errors import UnknownNameError
from tegu.sim.experiments.catsup import catsup
from tegu.sim.experiments.changing_sines import changing_sines
from tegu.sim.experiments.exercises import exercises
from tegu.sim.experiments.experiment import Experiment
from tegu.sim.experiments.insteval import insteval
from tegu.sim.experiments.movielens import movielens
from tegu.sim.experiments.ratings import ratings
from tegu.sim.experiments.shakespeare import shakespeare
from tegu.sim.experiments.sine import sine
from tegu.sim.experiments.two_groups import one_group, two_groups

__all__ = ["EXPERIMENTS", "Build", "find_experiment"]


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
