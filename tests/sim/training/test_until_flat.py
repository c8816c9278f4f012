"""A run whose rounds are chosen by validation: what it keeps, how it is resumed, and how it is continued."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.core.samples import refused
from tests.server.fake import Recorded
from tests.sim import people

from tegu.compile import compile_learner
from tegu.core.data.tree import digest
from tegu.core.errors import DataError, FederationError
from tegu.learners.learner import RecommendedTraining
from tegu.server.evaluation.flatness import is_comparison_round, is_growing_round, kept_round
from tegu.server.progress import SILENT, RoundProgress
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import EarlyStopping, TrainingPlan
from tegu.sim import Run, simulate
from tegu.sim.engine import make_engine
from tegu.sim.training.cross_fitting import make_folds
from tegu.sim.training.in_process import train_in_process

pytestmark = pytest.mark.usefixtures("compiled_once")

OUTER = OuterRule("Adam", 1.0, averaged=True)


def plan(rounds: int = 400, *, folds: int = 2, until_flat: bool = True) -> TrainingPlan:
    tiny = people.plan(rounds, folds=folds, outer=OUTER, ks=(3,))
    return replace(tiny, early_stopping=EarlyStopping(until_flat=until_flat))


def run(folder: Path | None = None, own: TrainingPlan | None = None, **options: Any) -> Run:
    options = {"progress": SILENT} | options
    return simulate(people.people(), people.learner(), plan=own or plan(), checkpoints=folder, **options)


@cache
def whole() -> Run:
    """An uninterrupted run."""
    return run()


def test_the_first_fold_ends_early_and_the_others_run_as_long() -> None:
    """Against plain trainings with the numbers of rounds that were found."""
    found, learner = whole().bundle.manifest.training, people.learner()
    engine = make_engine(learner, compile_learner(learner))
    for_fold, rounds = found["fold_rounds"], found["rounds"]
    assert 50 <= for_fold < 200, "half of 400 rounds are the most"
    assert rounds == found["kept_round"] == whole().plan.rounds == 2 * for_fold
    assert whole().plan.early_stopping.until_flat is False
    fixed = plan(for_fold, folds=0, until_flat=False)
    for fold, evaluator in zip(make_folds(whole().split.train, 2, 0), whole().fold_evaluators, strict=True):
        alone = train_in_process(engine, fold.train, learner.init(0), fixed)
        assert digest(evaluator.meta) == digest(alone.meta)
    last = train_in_process(engine, whole().split.train, learner.init(0), replace(fixed, rounds=rounds))
    assert digest(whole().bundle.meta) == digest(last.meta)


def test_some_validations_of_the_first_fold_include_people_who_train() -> None:
    found = [each.round for each in whole().trained.validations]
    assert found == [number for number in range(1, found[-1] + 1) if number == 1 or is_growing_round(number)]
    assert found[-1] >= whole().bundle.manifest.training["fold_rounds"]
    compared = [each.round for each in whole().trained.validations if math.isfinite(each.training)]
    assert compared == [number for number in found if is_comparison_round(number)]
    final = whole().final_validation
    assert final is not None
    assert math.isfinite(final.gap)


def test_the_plan_that_was_run_gives_the_same_again() -> None:
    again = run(own=whole().plan)
    assert digest(again.bundle.meta) == digest(whole().bundle.meta)
    assert again.bundle.manifest.schedule == whole().bundle.manifest.schedule


def test_a_single_training_keeps_its_best_round() -> None:
    found = run(own=plan(folds=0))
    kept = kept_round(found.trained.validations, True)
    assert found.plan.rounds == found.trained.kept == kept
    fixed = run(own=plan(kept or 0, folds=0, until_flat=False))
    assert digest(found.bundle.meta) == digest(fixed.bundle.meta)


@pytest.mark.parametrize("after", [60, 260])
def test_a_resumed_run_ends_in_the_same_bits(tmp_path: Path, after: int) -> None:
    """It is interrupted in the first fold, or in a later training."""
    count = 0

    def interrupt(progress: RoundProgress) -> None:
        nonlocal count
        count += 1
        if count == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, progress=Recorded(interrupt))
    resumed = run(tmp_path, resume=True)
    assert digest(resumed.bundle.meta) == digest(whole().bundle.meta)
    assert [digest(one.meta) for one in resumed.fold_evaluators] == [
        digest(one.meta) for one in whole().fold_evaluators
    ]
    assert resumed.bundle.manifest.schedule == whole().bundle.manifest.schedule


def test_more_rounds_continue_it(tmp_path: Path) -> None:
    run(tmp_path)
    longer = plan(480, until_flat=False)
    recorded = Recorded()
    continued = run(tmp_path, longer, progress=recorded)
    assert digest(continued.bundle.meta) == digest(run(own=longer).bundle.meta) != digest(whole().bundle.meta)
    assert len(recorded.rounds) < 240 + 240 + 480, "the rounds of before are not run again"
    with refused(FederationError, "until-flat 0 there, 1 here"):
        run(tmp_path)


def test_fewer_rounds_than_it_has_run_are_refused(tmp_path: Path) -> None:
    run(tmp_path)
    with refused(FederationError, "rounds there, 4 here (round"):
        run(tmp_path, plan(4, until_flat=False))


def test_rounds_that_are_given_are_run() -> None:
    advised = replace(people.learner(), recommended=RecommendedTraining("Adam", 1.0, averaged=True, until_flat=True))
    automatic = replace(plan(folds=0), rounds=None, outer=None, early_stopping=EarlyStopping())
    found = simulate(people.people(), advised, rounds=4, plan=automatic, progress=SILENT)
    assert (found.plan.rounds, found.trained.kept, found.plan.outer) == (4, 4, OUTER)


def test_ray_has_no_validations() -> None:
    with refused(DataError, "until_flat is True with the backend ray", "set until_flat to False"):
        run(backend="ray")
