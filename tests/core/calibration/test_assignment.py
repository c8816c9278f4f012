"""Who calibrates: drawn by name and seed alone, disjoint from those who train."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from tegu.core.calibration.assignment import is_calibration_user, is_comparison_user, uniform_draw

NAMES = [f"user-{number}" for number in range(4000)]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3])
def test_a_share_calibrates_and_as_many_others_are_compared(share: float) -> None:
    chosen = np.asarray([is_calibration_user(1, name, share) for name in NAMES])
    compared = np.asarray([is_comparison_user(1, name, share) for name in NAMES])
    assert not (chosen & compared).any()
    for found in (chosen, compared):
        assert abs(found.mean() - share) <= 4 * np.sqrt(share * (1 - share) / len(NAMES))


@pytest.mark.parametrize("folds", [2, 3, 4, 7, 49])
def test_everybody_is_in_one_fold_and_compared_in_another(folds: int) -> None:
    chosen, compared = (
        np.asarray([[role(1, name, 1 / folds, fold) for name in NAMES] for fold in range(folds)])
        for role in (is_calibration_user, is_comparison_user)
    )
    assert (chosen.sum(0) == 1).all()
    assert (np.roll(chosen, -1, 0) == compared).all(), "as many others, which the last fold finds in the first"
    lots = np.asarray([uniform_draw(1, name) for name in NAMES])
    assert (chosen.argmax(0) == (lots * folds).astype(int)).all()


def test_another_seed_draws_others() -> None:
    first, second = ([is_calibration_user(seed, name, 0.3) for name in NAMES] for seed in (1, 2))
    assert 0.15 < np.mean([a and b for a, b in zip(first, second, strict=True)]) / 0.3 < 0.45


def test_a_larger_share_keeps_whoever_calibrated() -> None:
    assert all(is_calibration_user(5, name, 0.3) for name in NAMES if is_calibration_user(5, name, 0.1))


def test_another_process_draws_the_same() -> None:
    """Python's own hash of a string differs from process to process."""
    program = "from tegu.core.calibration.assignment import uniform_draw; print(uniform_draw(3, 'user-7'))"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout
    assert float(printed) == uniform_draw(3, "user-7")
    assert 0 <= uniform_draw(3, "user-7") < 1
