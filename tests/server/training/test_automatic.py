"""Automatic settings: the plan's own value, else the learner's recommendation, else the general default."""

import pytest

from tegu.core.errors import DataError, UnknownNameError
from tegu.learners.learner import RecommendedTraining
from tegu.server.run_config import from_config, to_config
from tegu.server.training.automatic import settled, with_recommended
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import CohortPlan, TrainingPlan

ADVICE = RecommendedTraining("Adam", 0.02, {"weight_decay": 0.5}, True, 40, 9)


def test_a_recommendation_fills_in_what_is_automatic() -> None:
    found = with_recommended(TrainingPlan(seed=3, cohort=CohortPlan(users_per_node=2)), ADVICE)
    assert (found.rounds, found.cohort, found.seed) == (40, CohortPlan(9, users_per_node=2), 3)
    assert found.outer == OuterRule("Adam", 0.02, {"weight_decay": 0.5}, decay=True)
    assert settled(found) == (found.rounds, 9, found.outer)


def test_what_the_plan_says_stays() -> None:
    plan = TrainingPlan(rounds=7, cohort=CohortPlan(5), outer=OuterRule("SGD", 0.3))
    assert with_recommended(plan, ADVICE) == plan
    assert with_recommended(plan, None) == plan


def test_nothing_is_automatic_afterwards() -> None:
    for advice in (None, RecommendedTraining(), ADVICE):
        found = with_recommended(TrainingPlan(), advice)
        assert None not in (found.rounds, found.cohort.size, found.outer)
        assert with_recommended(found, RecommendedTraining("Yogi", 9.0)) == found
        assert from_config(to_config(found)) == found


def test_a_plan_and_a_run_configuration_without_values_are_automatic() -> None:
    assert (TrainingPlan().rounds, TrainingPlan().cohort.size, TrainingPlan().outer) == (None, None, None)
    assert settled(from_config({})) == settled(TrainingPlan()) == (300, 32, OuterRule("SGD", 1.0))
    assert from_config({"outer": "SGD"}).outer == OuterRule()


def test_a_bad_recommendation_is_an_error() -> None:
    with pytest.raises(UnknownNameError, match="Adamm"):
        with_recommended(TrainingPlan(), RecommendedTraining("Adamm"))
    with pytest.raises(DataError, match="cohort"):
        with_recommended(TrainingPlan(), RecommendedTraining(cohort=0))
