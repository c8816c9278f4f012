"""Automatic settings of a plan in a simulation, where the number of users is known."""

from __future__ import annotations

from dataclasses import replace

from tegu.learners.learner import RecommendedTraining
from tegu.server.training.automatic import with_recommended
from tegu.server.training.plan import TrainingPlan
from tegu.sim.data.population import Population

__all__ = ["with_fitting_cohort"]

_FOLDS = 4  # that an automatic number of folds may be


def with_fitting_cohort(
    plan: TrainingPlan, recommended: RecommendedTraining | None, population: Population
) -> TrainingPlan:
    """The plan without automatic rounds, cohort and outer optimiser.

    An automatic cohort is no larger than the number of users of each of its trainings. With `nodes`, it is no larger
    than their number.

    Args:
        plan: the plan.
        recommended: `Learner.recommended`.
        population: all users.

    Raises:
        PopulationError: as `Population.split`.
        DataError: as `with_recommended`.
        UnknownNameError: as `with_recommended`.
    """
    settled = with_recommended(plan, recommended)
    size = settled.cohort.size
    if plan.cohort.size is not None or size is None:
        return settled
    most = settled.cohort.nodes or _training_users(plan, population)
    return replace(settled, cohort=replace(settled.cohort, size=max(1, min(size, most))))


def _training_users(plan: TrainingPlan, population: Population) -> int:
    """Users of the smallest training, whether there are folds or not."""
    split = population.split(plan.seed, calibration=plan.calibration.share)
    available, folds = len(split.train) + len(split.calibration), plan.calibration.folds or _FOLDS
    return min(len(split.train), available - -(-available // folds))
