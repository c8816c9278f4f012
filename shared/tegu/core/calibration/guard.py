"""Answers between an initialisation's and a corrected one's, and how far to trust the correction: for calibration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tegu.core.calibration.normal_cdf import normal_cdf
from tegu.core.data.batch import Array
from tegu.core.data.spec import Kind
from tegu.core.sampling.trials import Trials

__all__ = ["GainModel", "blend_outputs", "fit_gain_model", "gain_model_sums", "trust"]

_ROUNDING = 1e-5  # of a gain: evidence that varies by less is none


class GainModel(NamedTuple):
    """How a person's gain follows from the evidence of its own interactions: `expected + belief * evidence`.

    Attributes:
        expected: squared error per row.
        belief: from 0, where evidence says nothing, to 1.
        spread: standard deviation around it.
    """

    expected: float
    belief: float
    spread: float


def blend_outputs(kind: Kind, before: Sequence[Array], after: Sequence[Array], factor: Array) -> list[Array]:
    """Answers `factor` of the way from `before` to `after`, as a bundle would give them.

    Where a corrected probability was outside of 0 and 1, nearly so: a bundle blends before it scales.

    Args:
        kind: answers of a classification are logarithms of probabilities, and are blended as probabilities.
        before: `[trials]` of answers.
        after: the same, wholly corrected.
        factor: `[trials]`.
    """
    answers = zip(*(_plain(kind, each) for each in (before, after)), factor, strict=True)
    return [a + part * (b - a) for a, b, part in answers]


def gain_model_sums(trials: Trials, before: Sequence[Array], after: Sequence[Array], evidence: Array) -> Array:
    """float64 `[5]`: what `fit_gain_model` needs of these trials.

    Args:
        trials: what was answered.
        before: `[trials]` of answers.
        after: the same, wholly corrected.
        evidence: `[trials]`, see `tegu.learners.algorithms.residual_correction`.
    """
    pairs = zip(*(_plain(trials.spec.kind, each) for each in (before, after)), trials.trials, strict=True)
    gain = np.asarray([_error(a, trial.query.y) - _error(b, trial.query.y) for a, b, trial in pairs])
    told = evidence.astype(np.float64)
    return np.asarray([part.sum() for part in (told, gain, told * told, told * gain, gain * gain)])


def fit_gain_model(trials: int, sums: Array) -> GainModel:
    """The line through calibration trials, by least squares with its slope kept within 0 and 1.

    Args:
        trials: how many were summed over, at least one.
        sums: `[5]`, of `gain_model_sums`.
    """
    evidence, gain, evidences, both, gains = (float(total) / trials for total in sums)
    variance, covariance = evidences - evidence * evidence, both - evidence * gain
    slope = covariance / variance if variance > _ROUNDING**2 * gains else 0.0
    slope = min(max(slope, 0.0), 1.0)
    around = gains - gain * gain - 2 * slope * covariance + slope * slope * variance
    return GainModel(gain - slope * evidence, slope, max(math.sqrt(max(around, 0.0)), 1e-9))


def trust(belief: GainModel, evidence: Array, guard: float, floor: float) -> Array:
    """How much of the correction a device keeps, `[trials]`; the rule of `residual_correction`."""
    if guard == 0:
        return np.ones_like(evidence)
    gains = normal_cdf((belief.expected + belief.belief * evidence) / belief.spread)
    kept: Array = floor + (1 - floor) * np.clip(guard * (gains - 0.5), 0.0, 1.0)
    return kept


def _plain(kind: Kind, answers: Sequence[Array]) -> list[Array]:
    return [np.exp(each, dtype=np.float64) if kind == "classification" else each.astype(np.float64) for each in answers]


def _error(answer: Array, y: Array) -> float:
    """Mean squared error a row; of labels, of their probabilities. Rows behind the last target are padding."""
    answer = answer[: len(y)]
    wanted = np.eye(answer.shape[1])[y] if y.ndim == 1 else y
    return float(np.square(answer - wanted).sum(-1).mean())
