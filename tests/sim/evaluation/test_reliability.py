"""Calibration error, compared with a loop over rows in torch and with hand-made numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.sim import people

from tegu.core.data.batch import Array, full_batch
from tegu.core.sampling.trials import Trial, Trials
from tegu.sim.data.population import Population
from tegu.sim.data.trials import draw_trials
from tegu.sim.evaluation.reliability import BINS, calibration_error, reliability


def one_trial(logits: Array, y: Array) -> Trials:
    """Return one trial whose query rows have the labels `y`."""
    x = np.zeros((len(y), 2), np.float32)
    population = Population.from_arrays(x, y, np.zeros(len(y)), people.SPEC)
    return Trials(population.spec, 1, [Trial(0, full_batch(x[:1], y[:1]), full_batch(x, y))])


def calibration_error_by_rows(logits: Array, y: Array) -> float:
    """Section 2 of the paper, row by row: bin m has the rows with a confidence in ((m - 1) / M, m / M]."""
    confidence, classes = torch.softmax(torch.tensor(logits, dtype=torch.float64), 1).max(1)
    error = 0.0
    for m in range(1, 16):
        inside = [i for i, p in enumerate(confidence.tolist()) if (m - 1) / 15 < p <= m / 15]
        if inside:
            accuracy = sum(int(classes[i]) == y[i] for i in inside) / len(inside)
            error += len(inside) / len(y) * abs(accuracy - float(confidence[inside].mean()))
    return error


@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0])
def test_the_error_is_the_papers(scale: float) -> None:
    rng = np.random.default_rng(0)
    y, logits = rng.integers(0, 3, 500), rng.normal(0, scale, (500, 3)).astype(np.float32)
    found = reliability(one_trial(logits, y), [logits])
    assert calibration_error(found) == pytest.approx(calibration_error_by_rows(logits, y), abs=1e-9)
    assert found.rows.sum() == 500


def test_rows_of_all_trials_count_the_same_and_padding_does_not() -> None:
    population = people.people(6)
    trials = draw_trials(population, 3, 0)
    rng = np.random.default_rng(1)
    padded, plain = [], []
    for trial in trials.trials:
        logits = rng.normal(size=(len(trial.query.y), 3))
        plain.append(logits)
        padded.append(np.concatenate([logits, np.full((20 - len(logits), 3), np.nan)]))
    y = np.concatenate([trial.query.y for trial in trials.trials])
    found = reliability(trials, padded)
    assert found.rows.sum() == len(y)
    assert calibration_error(found) == pytest.approx(calibration_error_by_rows(np.concatenate(plain), y), abs=1e-9)


def test_bins_by_hand() -> None:
    """1/3 is the upper end of the fifth bin, 1/2 is in the eighth. 1 is in the last, without overflow."""
    logits = np.asarray([[0, 0, 0], [0, 0, -1e4], [0, 0, -1e4], [1e4, 0, 0]], np.float32)
    found = reliability(one_trial(logits, np.asarray([0, 0, 1, 2])), [logits])
    assert BINS == 15
    assert np.flatnonzero(found.rows).tolist() == [4, 7, 14]
    assert found.confidence[[4, 7, 14]].tolist() == [1 / 3, 0.5, 1.0]
    assert found.accuracy[[4, 7, 14]].tolist() == [1.0, 0.5, 0.0]  # on a tie the first class is predicted
    assert calibration_error(found) == pytest.approx((2 / 3 + 2 * 0.0 + 1.0) / 4)


def test_labels_drawn_from_the_predicted_probabilities_give_no_error() -> None:
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 1.5, (20_000, 3))
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    y = (rng.random((20_000, 1)) > probabilities.cumsum(1)).sum(1).clip(max=2)
    assert calibration_error(reliability(one_trial(logits, y), [logits])) < 0.02
    assert calibration_error(reliability(one_trial(logits, y), [3 * logits])) > 0.1, "overconfident"


def test_a_prediction_that_is_nan_has_no_error() -> None:
    logits = np.asarray([[0.0, np.nan, 0.0], [1.0, 0.0, 0.0]])
    assert np.isnan(calibration_error(reliability(one_trial(logits, np.asarray([0, 0])), [logits])))
