"""The loop over folds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tegu.server.training.cross_fitting import checkpoint_folder, cross_fit


@pytest.mark.parametrize("folds", [2, 5])
def test_each_fold_is_left_out_once_and_nobody_last(folds: int) -> None:
    asked = list[int | None]()
    found = cross_fit(folds, lambda fold: (asked.append(fold), f"without {fold}")[1])
    assert asked == [*range(folds), None]
    assert found.by_fold == tuple(f"without {fold}" for fold in range(folds))
    assert found.kept == "without None"


def test_without_folds_those_who_calibrate_are_left_out_of_the_only_training() -> None:
    asked = list[int | None]()
    found = cross_fit(0, lambda fold: (asked.append(fold), "once")[1])
    assert (asked, found.kept, found.by_fold) == ([0], "once", ("once",))


def test_each_folds_checkpoints_are_apart() -> None:
    folder = Path("checkpoints")
    assert [checkpoint_folder(folder, 2, fold) for fold in (0, 1, None)] == [
        folder / "fold-0",
        folder / "fold-1",
        folder,
    ]
    assert checkpoint_folder(folder, 0, 0) == folder
