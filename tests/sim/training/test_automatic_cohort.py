"""An automatic cohort fits the users there are; a given one is never changed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.sim import people

from tegu.core.sampling.episode import EpisodeRule
from tegu.learners.learner import RecommendedTraining
from tegu.server.training.plan import CohortPlan, TrainingPlan
from tegu.sim.data.population import Population
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


def with_rows(rows: int) -> Population:
    """A hundred users with so many rows each."""
    x, y = np.zeros((100 * rows, 2), np.float32), np.arange(100 * rows) % 3
    return Population.from_arrays(x, y, np.repeat(np.arange(100), rows), people.SPEC)


@pytest.mark.parametrize(("rows", "size", "rounds"), [(10, 32, 2400), (40, 20, 3840), (90, 9, 4800), (5000, 8, 4800)])
def test_users_with_many_rows_make_smaller_rounds(rows: int, size: int, rounds: int) -> None:
    advice = RecommendedTraining("Adam", 0.02, rows=800, until_flat=True)
    found = with_fitting_cohort(TrainingPlan(), advice, with_rows(rows))
    assert (found.cohort.size, found.rounds) == (size, rounds)
    given = with_fitting_cohort(TrainingPlan(rounds=50, cohort=CohortPlan(30)), advice, with_rows(rows))
    assert (given.cohort.size, given.rounds) == (30, 50)
    nodes = with_fitting_cohort(TrainingPlan(cohort=CohortPlan(nodes=60)), advice, with_rows(rows))
    assert (nodes.cohort.size, nodes.rounds) == (32, 2400)


def test_large_episodes_leave_eight_users_of_a_round() -> None:
    advice = RecommendedTraining("Adam", 0.02, rows=800)
    plan = TrainingPlan(episodes=EpisodeRule(1, 1000, 1000))
    assert with_fitting_cohort(plan, advice, with_rows(2000)).cohort.size == 8


def test_a_given_cohort_stays() -> None:
    plan = TrainingPlan(cohort=CohortPlan(999))
    assert with_fitting_cohort(plan, ADVICE, people.people(40)).cohort.size == 999


def test_an_automatic_cohort_has_no_more_than_all_nodes() -> None:
    plan = TrainingPlan(cohort=CohortPlan(nodes=6))
    assert with_fitting_cohort(plan, ADVICE, people.people(40)).cohort == CohortPlan(6, 6)
