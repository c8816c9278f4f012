"""An automatic cohort fits the users there are; a given one is never changed."""

from __future__ import annotations

from dataclasses import replace

from tests.sim import people

from tegu.learners.learner import RecommendedTraining
from tegu.server.training.plan import CohortPlan, TrainingPlan
from tegu.sim.training.automatic import with_fitting_cohort
from tegu.sim.training.cross_fitting import resolve_folds, split_population

ADVICE = RecommendedTraining("Adam", 0.02, cohort=100)


def test_an_automatic_cohort_fits_every_training() -> None:
    for users in (15, 40):
        for folds in (None, 0, 2, 4):
            plan = TrainingPlan(calibration=replace(TrainingPlan().calibration, folds=folds))
            population = people.people(users)
            found = resolve_folds(with_fitting_cohort(plan, ADVICE, population), population)
            assert found.cohort.size is not None
            assert users / 4 < found.cohort.size < users
            split_population(population, found)  # raises if a training has fewer users than the cohort


def test_a_cohort_that_fits_is_as_recommended() -> None:
    assert with_fitting_cohort(TrainingPlan(), ADVICE, people.people(300)).cohort.size == 100


def test_a_given_cohort_stays() -> None:
    plan = TrainingPlan(cohort=CohortPlan(999))
    assert with_fitting_cohort(plan, ADVICE, people.people(40)).cohort.size == 999


def test_an_automatic_cohort_has_no_more_than_all_nodes() -> None:
    plan = TrainingPlan(cohort=CohortPlan(nodes=6))
    assert with_fitting_cohort(plan, ADVICE, people.people(40)).cohort == CohortPlan(6, 6)
