"""Cross-fitting: the trainings that it runs, and their checkpoint folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from tegu.server.training.cross_fitting import checkpoint_folder, cross_fit


@pytest.mark.parametrize("folds", [2, 5])
def test_each_fold_is_left_out_once_and_the_last_training_has_all_users(folds: int) -> None:
    trained = list[int | None]()
    found = cross_fit(folds, lambda fold: (trained.append(fold), f"without {fold}")[1])
    assert trained == [*range(folds), None]
    assert found.by_fold == tuple(f"without {fold}" for fold in range(folds))
    assert found.kept == "without None"


def test_without_folds_one_training_leaves_out_the_calibration_users() -> None:
    trained = list[int | None]()
    found = cross_fit(0, lambda fold: (trained.append(fold), "once")[1])
    assert (trained, found.kept, found.by_fold) == ([0], "once", ("once",))


def test_each_fold_has_its_own_checkpoint_folder() -> None:
    folder = Path("checkpoints")
    assert [checkpoint_folder(folder, 2, fold) for fold in (0, 1, None)] == [
        folder / "fold-0",
        folder / "fold-1",
        folder,
    ]
    assert checkpoint_folder(folder, 0, 0) == folder
