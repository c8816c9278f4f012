"""The guard's line from sums, against least squares over all trials."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tegu.core.calibration.guard import (
    Guard,
    fit_gain_model,
    gain_model_sums,
    shrinkage,
)
from tegu.core.data.batch import Array, full_batch
from tegu.core.data.spec import Spec
from tegu.core.sampling.trials import Trial, Trials


def sums(evidence: Array, gain: Array) -> Array:
    """Of trials whose initialisation is wrong by 10 and whose corrected answers are as much better as `gain` says."""
    rows = np.zeros((2, 1), np.float32)
    batch = full_batch(rows, rows)
    trials = Trials(Spec.regression((1,)), 1, [Trial(user, batch, batch) for user in range(len(gain))])
    before = [np.full((2, 1), 10.0) for _ in gain]
    after = [np.full((2, 1), np.sqrt(100 - each)) for each in gain]
    return gain_model_sums(trials, before, after, evidence)


@given(st.integers(3, 60), st.floats(-1.5, 2.5), st.integers(0, 2**31))
def test_the_line_is_that_of_least_squares(trials: int, slope: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    evidence = rng.normal(0.5, 1.0, trials)
    gain = 0.3 + slope * evidence + rng.normal(0, 0.5, trials)
    fitted = np.polyfit(evidence, gain, 1)[0]
    expected = min(max(float(fitted), 0.0), 1.0)
    rest = gain - expected * evidence
    half = trials // 2
    found = fit_gain_model(trials, sums(evidence[:half], gain[:half]) + sums(evidence[half:], gain[half:]))
    assert found == pytest.approx((rest.mean(), expected, rest.std()), abs=1e-6)


def test_evidence_that_is_rounding_tells_nothing() -> None:
    """With one interaction it is zero but for rounding, which differs from device to device."""
    gain = np.asarray([1.0, 2.0, 4.0])
    assert fit_gain_model(3, sums(gain * 1e-7, gain)).slope == 0
    assert fit_gain_model(3, sums(gain * 1e-3, gain)).slope == 1


def test_evidence_is_summed_in_double_precision() -> None:
    evidence = np.full(9973, 1 / 3, np.float32)
    assert sums(evidence, np.zeros(len(evidence)))[0] == pytest.approx(len(evidence) * float(evidence[0]), rel=1e-12)


def test_classes_are_judged_by_their_probabilities() -> None:
    rows = np.zeros((2, 1), np.float32)
    query = full_batch(rows, np.asarray([0, 1]))
    trials = Trials(Spec.classification((1,), 2), 1, [Trial(0, query, query)])
    before, after = np.log([[0.5, 0.5]] * 3), np.log([[0.8, 0.2], [0.1, 0.9], [0.5, 0.5]])  # the last is padding
    found = gain_model_sums(trials, [before], [after], np.zeros(1))
    assert found == pytest.approx([0, 0.5 - (2 * 0.04 + 2 * 0.01) / 2, 0, 0, (0.5 - 0.05) ** 2])


def test_trust_by_hand() -> None:
    evidence = np.asarray([-1.0, 0.0, 0.5, 9.0])
    assert shrinkage(Guard(1.0, 2.0, 0.0, 0.0, 1.0, 1.0), evidence) == pytest.approx([0.0, 0.0, 2 * 0.19146246, 1.0])
    assert shrinkage(Guard(1.0, 2.0, 0.25, 0.0, 1.0, 1.0), evidence) == pytest.approx(
        [0.25, 0.25, 0.25 + 1.5 * 0.19146246, 1.0]
    )
    assert shrinkage(Guard(1.0, 0.0, 0.25, 0.0, 1.0, 1.0), evidence).tolist() == [1.0] * 4
