"""Automatic settings: the plan's own value, else the learner's recommendation, else the general default."""

import pytest

from tegu.core.errors import DataError, UnknownNameError
from tegu.learners.learner import RecommendedTraining
from tegu.server.run_config import from_config, to_config
from tegu.server.training.automatic import settled, with_recommended
from tegu.server.training.calibration_plan import CalibrationPlan
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import CohortPlan, EarlyStopping, TrainingPlan

ADVICE = RecommendedTraining("Adam", 0.02, {"weight_decay": 0.5}, True, 40, 9)


def test_a_recommendation_fills_in_what_is_automatic() -> None:
    found = with_recommended(TrainingPlan(seed=3, cohort=CohortPlan(users_per_node=2)), ADVICE)
    assert (found.rounds, found.cohort, found.seed) == (40, CohortPlan(9, users_per_node=2), 3)
    assert found.outer == OuterRule("Adam", 0.02, {"weight_decay": 0.5}, decay=True)
    assert settled(found) == (found.rounds, 9, found.outer)


def test_what_the_plan_says_stays() -> None:
    stopping = EarlyStopping(until_flat=False)
    plan = TrainingPlan(rounds=7, cohort=CohortPlan(5), outer=OuterRule("SGD", 0.3), early_stopping=stopping)
    assert with_recommended(plan, ADVICE) == plan
    assert with_recommended(plan, None) == plan


def test_nothing_is_automatic_afterwards() -> None:
    for advice in (None, RecommendedTraining(), ADVICE):
        found = with_recommended(TrainingPlan(), advice)
        assert None not in (found.rounds, found.cohort.size, found.outer, found.early_stopping.until_flat)
        assert with_recommended(found, RecommendedTraining("Yogi", 9.0)) == found
        assert from_config(to_config(found)) == found


def test_a_learner_may_train_until_validations_are_flat() -> None:
    advice = RecommendedTraining("AdamW", 0.01, averaged=True, until_flat=True)
    found = with_recommended(TrainingPlan(), advice)
    assert (found.rounds, found.early_stopping.until_flat) == (2400, True)
    assert found.outer == OuterRule("AdamW", 0.01, averaged=True)
    assert with_recommended(TrainingPlan(), advice._replace(rounds=70)).rounds == 70
    for own, rounds in (
        (TrainingPlan(rounds=7), 7),
        (TrainingPlan(outer=OuterRule("SGD", 0.3)), 300),
        (TrainingPlan(early_stopping=EarlyStopping(patience=4)), 300),
        (TrainingPlan(early_stopping=EarlyStopping(validate_every=0)), 300),
        (TrainingPlan(calibration=CalibrationPlan(share=0.0)), 300),
    ):
        plan = with_recommended(own, advice)
        assert (plan.rounds, plan.early_stopping.until_flat) == (rounds, False)


def test_a_plan_may_ask_for_it() -> None:
    plan = TrainingPlan(rounds=50, early_stopping=EarlyStopping(until_flat=True))
    assert with_recommended(plan, None).rounds == 50
    assert with_recommended(TrainingPlan(early_stopping=plan.early_stopping), None).rounds == 2400


def test_a_plan_and_a_run_configuration_without_values_are_automatic() -> None:
    assert (TrainingPlan().rounds, TrainingPlan().cohort.size, TrainingPlan().outer) == (None, None, None)
    assert settled(from_config({})) == settled(TrainingPlan()) == (300, 32, OuterRule("SGD", 1.0))
    assert from_config({"outer": "SGD"}).outer == OuterRule()


def test_a_bad_recommendation_is_an_error() -> None:
    with pytest.raises(UnknownNameError, match="Adamm"):
        with_recommended(TrainingPlan(), RecommendedTraining("Adamm"))
    with pytest.raises(DataError, match="cohort"):
        with_recommended(TrainingPlan(), RecommendedTraining(cohort=0))
