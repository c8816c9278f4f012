"""Whether a classifier is as often right as it says: reliability and expected calibration error.

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
    """Query rows by the probability of the class predicted: bin i, from 0, is (i / 15, (i + 1) / 15].

    Attributes:
        rows: int64 `[15]`, how many there are.
        confidence: float64 `[15]`, their mean probability of the class predicted; 0 in an empty bin.
        accuracy: float64 `[15]`, the share of them whose class is right; 0 in an empty bin.
    """

    rows: Array
    confidence: Array
    accuracy: Array


def reliability(trials: Trials, outputs: Sequence[Array] | Array) -> Reliability:
    """Every query row of every trial, each counted the same.

    Args:
        trials: of a classification.
        outputs: `[trials]` of logits for `stacked_inputs`; padded rows are passed over.
    """
    pairs = [
        _confident(output[: len(trial.query.y)], trial.query.y)
        for trial, output in zip(trials.trials, outputs, strict=True)
    ]
    confidence, right = (np.concatenate(part) for part in zip(*pairs, strict=True))
    places = np.digitize(confidence, np.arange(1, BINS) / BINS, right=True)
    rows = np.bincount(places, minlength=BINS)
    sums = (np.bincount(places, values, BINS) for values in (confidence, right))
    return Reliability(rows, *(values / np.maximum(rows, 1) for values in sums))


def _confident(logits: Array, y: Array) -> tuple[Array, Array]:
    """`[rows]` twice: the probability of the class predicted, and whether it is right."""
    below = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return 1 / np.exp(below).sum(-1).reshape(-1), (logits.argmax(-1) == y).reshape(-1)


def calibration_error(found: Reliability) -> float:
    """The expected calibration error: the mean over rows of how far its bin's confidence is from its accuracy."""
    return float(np.average(np.abs(found.confidence - found.accuracy), weights=found.rows))
