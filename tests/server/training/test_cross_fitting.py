"""Cross-fitting: the trainings that it runs, and their checkpoint folders."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from tegu.server.training.calibration_plan import CalibrationPlan
from tegu.server.training.cross_fitting import CrossFitted, checkpoint_folder, cross_fit, fold_rounds, with_rounds
from tegu.server.training.plan import EarlyStopping, TrainingPlan


class Training(NamedTuple):
    """What one training was asked for, and the round that it keeps."""

    fold: int | None
    rounds: int | None
    until_flat: bool | None
    kept: int
    validated: bool = True


def trainings(plan: TrainingPlan, kept: int = 7) -> CrossFitted[Training]:
    """Trainings that keep round `kept` if validations decide, and the last one otherwise."""

    def train(fold: int | None, own: TrainingPlan) -> Training:
        stopping = own.early_stopping
        ends = stopping.until_flat
        validated = stopping.interval(own.rounds or 0, by_default=True) != 0
        return Training(fold, own.rounds, ends, kept if ends else own.rounds or 0, validated)

    return cross_fit(plan, train)


def plan_of(folds: int, *, until_flat: bool = False) -> TrainingPlan:
    stopping = EarlyStopping(until_flat=until_flat)
    return TrainingPlan(rounds=20, early_stopping=stopping, calibration=CalibrationPlan(folds=folds))


@pytest.mark.parametrize("folds", [2, 5])
def test_each_fold_is_left_out_once_and_the_last_training_has_all_users(folds: int) -> None:
    found = trainings(plan_of(folds))
    assert [each.fold for each in found.by_fold] == [*range(folds)]
    assert {each.rounds for each in found.by_fold} == {20 * (folds - 1) // folds}
    assert found.kept == Training(None, 20, False, 20)


def test_without_folds_one_training_leaves_out_the_calibration_users() -> None:
    found = trainings(plan_of(0))
    assert (found.kept, found.by_fold) == (Training(0, 20, False, 20), (found.kept,))


@pytest.mark.parametrize(("folds", "kept", "last"), [(2, 7, 14), (3, 7, 10), (4, 7, 9)])
def test_the_first_fold_finds_the_rounds_of_the_others(folds: int, kept: int, last: int) -> None:
    found = trainings(plan_of(folds, until_flat=True), kept)
    assert found.by_fold[0] == Training(0, -(-20 * (folds - 1) // folds), True, kept)
    assert {each[1:] for each in found.by_fold[1:]} == {(kept, False, kept, False)}, "they decide nothing"
    assert found.kept == Training(None, last, False, last, False)
    assert fold_rounds(with_rounds(plan_of(folds, until_flat=True), last)) == kept, (
        "the same plan with rounds= repeats it"
    )


def test_a_single_training_may_end_by_its_own_validations() -> None:
    assert trainings(plan_of(0, until_flat=True)).kept == Training(0, 20, True, 7)


def test_the_other_trainings_are_validated_after_the_same_rounds() -> None:
    assert with_rounds(plan_of(2, until_flat=True), 9).early_stopping.validate_every == "growing"
    assert with_rounds(plan_of(2), 9).early_stopping.validate_every is None


def test_each_fold_has_its_own_checkpoint_folder() -> None:
    folder = Path("checkpoints")
    assert [checkpoint_folder(folder, 2, fold) for fold in (0, 1, None)] == [
        folder / "fold-0",
        folder / "fold-1",
        folder,
    ]
    assert checkpoint_folder(folder, 0, 0) == folder
