"""A plan as a run configuration and back: no setting is lost, and invalid values are named in errors."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st
from tests.core.samples import refused

from tegu.core.compression.precision import Precision
from tegu.core.errors import DataError, FederationError, TeguError, UnknownNameError
from tegu.core.metrics import METRICS, Metric
from tegu.core.sampling.episode import EpisodeRule
from tegu.server import APP_DIR
from tegu.server.privacy.plan import PrivacyPlan
from tegu.server.rounds.reply_plan import ReplyPlan
from tegu.server.run_config import from_config, to_config
from tegu.server.training.calibration_plan import CalibrationPlan
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import CohortPlan, EarlyStopping, TrainingPlan, UpdatePlan

PATHS = {"bundle", "out", "checkpoints", "partitions"}
FULL = TrainingPlan(
    rounds=7,
    seed=11,
    cohort=CohortPlan(5, 9, 2, 1.5),
    episodes=EpisodeRule(2, 5, 7),
    outer=OuterRule("AdamW", 0.05, {"weight_decay": 0.2}, decay=True, averaged=True),
    updates=UpdatePlan("int8", 0.4, "median", 0.2),
    early_stopping=EarlyStopping(3, 2, until_flat=False),
    calibration=CalibrationPlan(0.3, 0, 4, (3, 7), METRICS["rmse"], 0.095, 0.1, 0.3, 0.95),
    replies=ReplyPlan(2, 30.0, 1.5, 5, 4, 9),
    privacy=PrivacyPlan(None, 1e-6, None, 0.7, 0.3, 5),
)
# Noise on the mean excludes settings that FULL has.
PRIVATE = TrainingPlan(outer=OuterRule(), privacy=PrivacyPlan(epsilon=8.0, noise=1.5))


def setting_values(record: Any) -> list[Any]:
    """The values of all settings of a plan and of the records in it."""
    found = [getattr(record, each.name) for each in fields(record)]
    return [setting for value in found for setting in (setting_values(value) if is_settings(value) else [value])]


def is_settings(value: Any) -> bool:
    return is_dataclass(value) and not isinstance(value, Metric)


def test_every_setting_survives_the_round_trip() -> None:
    default, changed = setting_values(TrainingPlan(outer=OuterRule())), setting_values(FULL)
    private = setting_values(PRIVATE)
    differs = [one != other or one != third for one, other, third in zip(default, changed, private, strict=True)]
    assert all(differs), "every setting differs"
    assert len(to_config(FULL)) == len(changed), "every setting has one key"
    assert from_config(to_config(FULL)) == FULL
    assert from_config(to_config(PRIVATE)) == PRIVATE


def test_limits_that_are_no_numbers_survive_too() -> None:
    plan = TrainingPlan(calibration=CalibrationPlan(risk="strict", harm_ratio=math.inf))
    assert to_config(plan)["calibration-risk"] == to_config(plan)["calibration-harm-ratio"] == -1.0
    assert from_config(to_config(plan)) == plan


def test_another_word_than_strict_is_refused() -> None:
    with refused(DataError, "risk is 'lax'", "from 0 to 1", "'strict'"):
        CalibrationPlan(risk="lax")  # type: ignore[arg-type]


@given(
    st.builds(
        TrainingPlan,
        rounds=st.none() | st.integers(1, 10**9),
        seed=st.integers(-(2**60), 2**60),
        cohort=st.builds(
            CohortPlan,
            st.none() | st.integers(1, 99),
            st.none() | st.integers(1, 99),
            st.integers(0, 9),
            st.floats(0, 1e6),
        ),
        updates=st.builds(
            UpdatePlan,
            st.sampled_from(("float32", "float16", "int8")),
            st.floats(0, exclude_min=True, allow_nan=False),
        ),
        early_stopping=st.builds(
            EarlyStopping, st.none() | st.just("growing") | st.integers(1, 99), st.just(0), st.none() | st.booleans()
        ),
        calibration=st.builds(
            CalibrationPlan,
            st.none() | st.floats(0, 0.5, exclude_min=True),  # 0 leaves nobody to validate
            st.none() | st.just(0) | st.integers(2, 9),
            st.integers(0, 9),
            st.lists(st.integers(1, 99), min_size=1, max_size=5).map(tuple),
            st.none() | st.sampled_from(list(METRICS.values())),
            st.floats(0, 1),
        ),
    )
)
def test_any_plan_survives_the_round_trip(plan: TrainingPlan) -> None:
    assert from_config(to_config(plan)) == plan


def test_the_apps_defaults_equal_the_plans_defaults() -> None:
    """Flower rejects keys that the app does not declare, and values of another type than the declared one."""
    declared = tomli.loads((APP_DIR / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]
    expected = to_config(TrainingPlan())
    plan = {name: value for name, value in declared.items() if name not in {*PATHS, "resume"}}
    assert set(declared) >= {*PATHS, "resume"}
    assert plan == expected
    assert {name: type(value) for name, value in plan.items()} == {
        name: type(value) for name, value in expected.items()
    }


def test_missing_settings_have_their_defaults() -> None:
    assert from_config({}) == TrainingPlan()
    assert from_config({"rounds": 3, "outer-lr": 1}) == TrainingPlan(rounds=3)


@pytest.mark.parametrize(
    ("changed", "kind", "parts"),
    [
        ({"rounds": "3"}, FederationError, ["rounds is '3'", "a whole number, such as 300"]),
        ({"rounds": True}, FederationError, ["rounds is True", "a whole number"]),
        ({"cohort": 3.0}, FederationError, ["cohort is 3.0", "a whole number, such as 32"]),
        ({"calibration-risk": "much"}, FederationError, ["calibration-risk is 'much'", "a number, such as 0.05"]),
        ({"outer-decay": 1}, FederationError, ["outer-decay is 1", "true or false, such as false"]),
        ({"outer": 4}, FederationError, ["outer is 4", 'text, such as "SGD"']),
        ({"calibration-ks": "1;5"}, FederationError, ["calibration-ks is '1;5'", '"1,5"']),
        ({"calibration-ks": ""}, DataError, ["ks is ()", "at least 1"]),
        ({"calibration-ks": "0,1"}, DataError, ["ks is (0, 1)"]),
        ({"calibration-metric": "rmsee"}, UnknownNameError, ["rmsee", "Did you mean 'rmse'"]),
        ({"calibration-folds": 1}, DataError, ["folds is 1", "at least 2"]),
        ({"calibration-folds": -2}, DataError, ["folds is -2", "at least 2"]),
        ({"calibration-share": 0.6}, DataError, ["share is 0.6", "0 to 0.5"]),
        ({"calibration-risk": -0.5}, DataError, ["risk is -0.5", "from 0 to 1", "'strict'"]),
        ({"calibration-material": 2.0}, DataError, ["material is 2.0", "from 0 to 1", "0.05"]),
        ({"calibration-harm-ratio": -0.5}, DataError, ["harm_ratio is -0.5", "at least 0"]),
        ({"calibration-confidence": 1.0}, DataError, ["confidence is 1.0", "below 1", "no number of people"]),
        ({"calibration-confidence": 0.3}, DataError, ["confidence is 0.3", "from 0.5"]),
        ({"calibration-risk": 1.5}, DataError, ["risk is 1.5", "from 0 to 1"]),
        ({"validate-every": -3}, DataError, ["validate_every is -3"]),
        ({"until-flat": 2}, FederationError, ["until-flat is 2", "1 for yes"]),
        ({"until-flat": 1, "patience": 3}, DataError, ["patience is 3 and until_flat is True", "set patience to 0"]),
        ({"until-flat": 1, "validate-every": 0}, DataError, ["until_flat is True and validate_every is 0"]),
        ({"until-flat": 1, "calibration-share": 0.0}, DataError, ["until_flat is True", "no user can validate"]),
        ({"patience": 3, "calibration-folds": 2}, DataError, ["patience is 3 with 2 folds", "patience or folds to 0"]),
        ({"patience": 3, "validate-every": 0}, DataError, ["patience is 3 and validate_every is 0"]),
        ({"patience": 3, "calibration-share": 0.0}, DataError, ["patience is 3", "share", "above 0"]),
        ({"clip": -3.0}, DataError, ["clip is -3.0"]),
        ({"update-precision": "int9"}, UnknownNameError, ["int9", "Did you mean 'int8'"]),
        ({"roundz": 3}, UnknownNameError, ["roundz", "Did you mean 'rounds'"]),
        ({"outer": "", "outer-lr": 0.5}, FederationError, ["outer is empty", "outer-lr 0.5", "name the optimiser"]),
        ({"outer": "", "outer-decay": True}, FederationError, ["outer is empty", "outer-decay true"]),
        ({"outer": "yogii"}, UnknownNameError, ["Did you mean 'Yogi'"]),
        ({"outer": "AdamW", "outer-options": '{"wait_decay": 1}'}, DataError, ["AdamW has no option wait_decay"]),
        *(({"outer-options": text}, FederationError, ["expected a JSON object"]) for text in ("no json", "3", "[1]")),
    ],
)
def test_invalid_values_are_named(changed: dict[str, Any], kind: type[TeguError], parts: list[str]) -> None:
    with refused(kind, *parts):
        from_config({**to_config(TrainingPlan()), **changed})


def test_a_metric_that_devices_do_not_have_is_refused() -> None:
    own = Metric("own", True, lambda outputs, y, seen: 0.0)
    with refused(UnknownNameError, "own"):
        to_config(TrainingPlan(calibration=CalibrationPlan(metric=own)))


@pytest.mark.parametrize(
    ("stopping", "found"),
    [
        (EarlyStopping(), (5, 0)),
        (EarlyStopping(patience=1), (5, 5)),
        (EarlyStopping(7), (7, 7)),
        (EarlyStopping(0), (0, 0)),
    ],
)
def test_interval_between_validations(stopping: EarlyStopping, found: tuple[int, int]) -> None:
    assert tuple(stopping.interval(100, by_default=each) for each in (True, False)) == found
    short = {3: 1, 10: 1, 20: 2, 30: 3, 60: 3, 100: 5, 300: 15}
    assert {rounds: EarlyStopping().interval(rounds, by_default=True) for rounds in short} == short


def test_left_out_users_of_each_training() -> None:
    separate, cross_fitted = CalibrationPlan(), CalibrationPlan(folds=4)
    assert [tuple(separate.left_out(fold)) for fold in (0, None)] == [(0.1, 0), (0.0, 0)]
    assert [tuple(cross_fitted.left_out(fold)) for fold in (0, 3, None)] == [(0.25, 0), (0.25, 3), (0.0, 0)]


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_a_plan_for_training_only(precision: Precision) -> None:
    plan = TrainingPlan(early_stopping=EarlyStopping(2, 3), updates=UpdatePlan(precision, math.inf)).training_only()
    assert plan.updates.precision == precision
    assert plan.calibration.left_out_share == 0
    assert plan.early_stopping.interval(100, by_default=True) == 0
