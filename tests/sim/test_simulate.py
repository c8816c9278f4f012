"""`simulate`: rounds, cohort and seed in words, everything else by the plan."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from tests.server.fake import Recorded
from tests.sim import people

from tegu.core.data.tree import digest
from tegu.core.errors import DataError
from tegu.server.training.plan import CalibrationPlan, CohortPlan
from tegu.sim import TrainingPlan, simulate
from tegu.sim.run import run_plan

pytestmark = pytest.mark.usefixtures("compiled_once")


def test_what_is_given_takes_the_place_of_the_plans(tmp_path: Path) -> None:
    told, plan = Recorded(), people.plan(4, seed=3, cohort=5, nodes=9, ks=(2,), validate_every=1)
    run = simulate(
        people.people(), people.learner(), rounds=2, cohort=3, seed=7, plan=plan, checkpoints=tmp_path, progress=told
    )
    assert run.plan == people.plan(2, seed=7, cohort=3, nodes=9, ks=(2,), validate_every=1)
    assert run.ks == (2,)
    assert run.learner.execution.example_scaling == (None, None)  # a learner is taken as it is
    assert [progress.round for progress in told.rounds] == [1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"round-{n:06d}.safetensors" for n in (1, 2)]


def test_what_is_not_given_is_the_plans() -> None:
    plan = people.plan(1, seed=3, cohort=4)
    assert simulate(people.people(), people.learner(), plan=plan).plan == plan


def test_zero_is_given() -> None:
    """Seed 0 takes the place of the plan's, and no rounds are refused, not overlooked."""
    assert simulate(people.people(), people.learner(), seed=0, plan=people.plan(1, seed=3)).plan.seed == 0
    with pytest.raises(DataError, match="rounds is 0: expected at least 1"):
        simulate(people.people(), people.learner(), rounds=0)


def test_there_are_at_most_ten_keywords() -> None:
    parameters = inspect.signature(simulate).parameters.values()
    assert len([each for each in parameters if each.kind is each.KEYWORD_ONLY]) <= 10


def test_the_number_of_initialisations_is_checked() -> None:
    with pytest.raises(DataError, match="initialisations is 0: expected at least 1"):
        simulate(people.people(), people.learner(), initialisations=0)


def test_it_is_the_plans_run_bit_for_bit() -> None:
    words = simulate(
        people.people(),
        people.learner(),
        rounds=3,
        cohort=4,
        seed=1,
        plan=TrainingPlan(calibration=CalibrationPlan(ks=(1,))),
    )
    plan = TrainingPlan(rounds=3, seed=1, cohort=CohortPlan(4), calibration=CalibrationPlan(folds=4, ks=(1,)))
    same = run_plan(people.people(), people.learner(), plan)
    assert digest(words.bundle.meta) == digest(same.bundle.meta)
    assert words.bundle.identity == same.bundle.identity
