"""Numbers of a plan: numpy's are taken as Python's, other types and numbers out of range are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.core.samples import refused

from tegu.core.errors import DataError
from tegu.core.sampling.episode import EpisodeRule
from tegu.core.scalars import real_number, whole_number
from tegu.server.run_config import to_config
from tegu.server.training.calibration_plan import CalibrationPlan
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import CohortPlan, EarlyStopping, TrainingPlan, UpdatePlan


def test_numpys_numbers_give_an_equal_plan() -> None:
    def plan(whole: Callable[[int], Any], real: Callable[[float], Any]) -> TrainingPlan:
        return TrainingPlan(
            rounds=whole(7),
            seed=whole(3),
            cohort=CohortPlan(whole(4), whole(9), whole(2), real(1.5)),
            episodes=EpisodeRule(whole(1), whole(5), whole(6)),
            outer=OuterRule(lr=real(0.5)),
            updates=UpdatePlan(clip=real(2.0)),
            early_stopping=EarlyStopping(whole(2), whole(1)),
            calibration=CalibrationPlan(real(0.25), whole(0), whole(3), tuple(map(whole, (1, 2))), risk=real(0.125)),
        )

    expected = plan(int, float)
    for whole, real in ((np.int64, np.float64), (np.uint8, np.float32), (np.asarray, np.float16)):
        found = plan(whole, real)
        assert found == expected
        assert repr(found) == repr(expected)
        assert json.dumps(to_config(found)) == json.dumps(to_config(expected))


@pytest.mark.parametrize("value", ["3", 3.0, True, np.bool_(True), None, [3], np.array([1, 2])])
def test_what_is_no_whole_number_is_refused(value: Any) -> None:
    with refused(DataError, "seed is ", type(value).__name__, "expected a whole number"):
        whole_number("seed", value)


@pytest.mark.parametrize("value", ["0.5", True, None, [0.5], float("nan")])
def test_what_is_no_number_is_refused(value: Any) -> None:
    with refused(DataError, "lr is ", "expected a number"):
        real_number("lr", value)


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda: TrainingPlan(rounds=-1), "rounds is -1: expected at least 1"),
        (lambda: TrainingPlan(rounds=0), "rounds is 0: expected at least 1"),
        (lambda: TrainingPlan(rounds=2.5), "rounds is 2.5 (float): expected a whole number of at least 1"),
        (lambda: TrainingPlan(seed="0"), "seed is '0' (str): expected a whole number"),
        (lambda: TrainingPlan(cohort=5), "cohort is 5: expected CohortPlan(...)"),
        (lambda: TrainingPlan(outer="Adam"), "outer is 'Adam': expected OuterRule(...)"),
        (lambda: CohortPlan(0), "cohort is 0: expected at least 1"),
        (lambda: CohortPlan(4, wait_seconds=-0.5), "wait_seconds is -0.5: expected at least 0"),
        (lambda: CalibrationPlan(ks=5), "ks is 5: expected numbers of interactions, such as (1, 5, 10)"),
        (lambda: CalibrationPlan(ks=("1",)), "ks is '1' (str): expected a whole number"),
        (lambda: CalibrationPlan(metric="accuracy"), "metric is 'accuracy': expected a Metric"),
        (lambda: EpisodeRule(max_query="9"), "max_query is '9' (str)"),
        (lambda: OuterRule(lr="0.1"), "the outer lr is '0.1' (str): expected a number"),
        (lambda: UpdatePlan(clip="1"), "clip is '1' (str): expected a number"),
    ],
)
def test_a_plan_states_what_is_wrong(build: Callable[[], object], expected: str) -> None:
    with refused(DataError, expected):
        build()
