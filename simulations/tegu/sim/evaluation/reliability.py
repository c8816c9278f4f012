"""Reliability and expected calibration error: how a classifier's confidence compares with its accuracy.

Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599, section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.sampling.trials import Trials

__all__ = ["BINS", "Reliability", "calibration_error", "reliability"]

BINS = 15


class Reliability(NamedTuple):
    """Query rows in 15 bins of the predicted class's probability; bin i, from 0, is (i / 15, (i + 1) / 15].

    Attributes:
        rows: int64 `[15]`, number of rows.
        confidence: float64 `[15]`, mean probability of the predicted class; 0 in an empty bin.
        accuracy: float64 `[15]`, share of rows with the correct class; 0 in an empty bin.
    """

    rows: Array
    confidence: Array
    accuracy: Array

    def __repr__(self) -> str:
        return f"Reliability(rows={int(self.rows.sum())}, calibration_error={calibration_error(self):.3g})"


def reliability(trials: Trials, outputs: Sequence[Array] | Array) -> Reliability:
    """Bin every query row of every trial; all rows have the same weight.

    Args:
        trials: trials of a classification task.
        outputs: for each trial, logits `[rows, classes]` for `stacked_inputs`; padded rows are ignored.
    """
    pairs = [
        _confidence(output[: len(trial.query.y)], trial.query.y)
        for trial, output in zip(trials.trials, outputs, strict=True)
    ]
    confidence, correct = (np.concatenate(part) for part in zip(*pairs, strict=True))
    bins = np.digitize(confidence, np.arange(1, BINS) / BINS, right=True)
    rows = np.bincount(bins, minlength=BINS)
    sums = (np.bincount(bins, values, BINS) for values in (confidence, correct))
    return Reliability(rows, *(values / np.maximum(rows, 1) for values in sums))


def _confidence(logits: Array, y: Array) -> tuple[Array, Array]:
    """Return the probability of the predicted class and whether this class is correct, `[rows]` each."""
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return 1 / np.exp(shifted).sum(-1).reshape(-1), (logits.argmax(-1) == y).reshape(-1)


def calibration_error(found: Reliability) -> float:
    """Return the expected calibration error: the mean over rows of |confidence - accuracy| of the row's bin."""
    return float(np.average(np.abs(found.confidence - found.accuracy), weights=found.rows))
