"""Automatic settings of a plan in a simulation, where the number of users is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tegu.core.sampling.episode import EpisodeRule
from tegu.learners.learner import RecommendedTraining
from tegu.server.training.automatic import with_recommended
from tegu.server.training.plan import TrainingPlan
from tegu.sim.data.population import Population

__all__ = ["with_fitting_cohort"]

_FOLDS = 4  # that an automatic number of folds may be
_LEAST = 8  # users of a round whose number follows from their rows
_MOST_TIMES = 2  # as many rounds as with a cohort that does not


def with_fitting_cohort(
    plan: TrainingPlan, recommended: RecommendedTraining | None, population: Population
) -> TrainingPlan:
    """The plan without automatic rounds, cohort and outer optimiser.

    An automatic cohort is no larger than the number of users of each of its trainings. With `nodes`, it is no larger
    than their number. Where the learner recommends `rows` for a round, users with many rows make the cohort smaller and
    the most rounds of a training that ends by itself more.

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
    if recommended is not None and recommended.rows is not None and settled.cohort.nodes is None:
        smaller = min(size, max(_LEAST, round(recommended.rows / _rows_of_a_user(population, plan.episodes))))
        if plan.rounds is None and settled.rounds is not None and settled.early_stopping.until_flat:
            settled = replace(settled, rounds=min(_MOST_TIMES * settled.rounds, settled.rounds * size // smaller))
        size = smaller
    most = settled.cohort.nodes or _training_users(plan, population)
    return replace(settled, cohort=replace(settled.cohort, size=max(1, min(size, most))))


def _rows_of_a_user(population: Population, episodes: EpisodeRule) -> float:
    """Mean number of rows with which a user takes part in a round."""
    most = (episodes.min_support + episodes.max_support) / 2 + episodes.max_query
    return float(np.minimum(population.counts, most).mean())


def _training_users(plan: TrainingPlan, population: Population) -> int:
    """Users of the smallest training, whether there are folds or not."""
    split = population.split(plan.seed, calibration=plan.calibration.share)
    available, folds = len(split.train) + len(split.calibration), plan.calibration.folds or _FOLDS
    return min(len(split.train), available - -(-available // folds))
