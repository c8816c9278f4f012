"""How far to trust a correction."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import numpy as np

from tegu.core.bundle.manifest import Knobs
from tegu.core.calibration.normal_cdf import normal_cdf
from tegu.core.data.batch import Array
from tegu.core.data.spec import Kind

if TYPE_CHECKING:  # a device reads guards, and has no trials
    from tegu.core.sampling.trials import Trials

__all__ = [
    "LOO_IMPROVEMENT",
    "SHRINKAGE",
    "GainModel",
    "Guard",
    "fit_gain_model",
    "fully_corrected_knobs",
    "gain_model_sums",
    "shrinkage",
]

T = TypeVar("T")
LOO_IMPROVEMENT, SHRINKAGE = "loo_improvement", "shrinkage"  # scalars in the state of a guarded learner
_MOST_LOGIT = 80.0  # beyond it a probability is 0 or 1 anyway
_ROUNDING = 1e-5  # relative to gains: evidence that varies by less is rounding error


class GainModel(NamedTuple):
    """Linear regression of a user's gain on its evidence: gain = `intercept` + `slope` * evidence.

    Attributes:
        intercept: intercept, in squared error per row.
        slope: slope, from 0 (evidence is uninformative) to 1.
        residual_sd: residual standard deviation.
    """

    intercept: float
    slope: float
    residual_sd: float


@dataclass(frozen=True)
class Guard(Generic[T]):
    """The knobs that decide how much of a guarded correction is applied; `residual_correction` has the formula.

    Attributes:
        weight: largest share of the correction that is applied, from 0 to 1.
        guard: how fast the applied share rises with the probability of a gain; 0 always applies all of it.
        floor: share that is applied however small that probability is.
        intercept: see `GainModel`.
        slope: see `GainModel`.
        residual_sd: see `GainModel`.
    """

    weight: T
    guard: T
    floor: T
    intercept: T
    slope: T
    residual_sd: T

    @classmethod
    def of(cls, knobs: Mapping[str, T]) -> Guard[T]:
        """The guard among a guarded learner's knobs."""
        return cls(**{field.name: knobs[field.name] for field in fields(cls)})


def fully_corrected_knobs(knobs: Knobs) -> Knobs:
    """The knobs of the whole correction, with everything kept; others as they are."""
    return {**knobs, **asdict(Guard(1.0, 0.0, 0.0, 0.0, 0.0, 1.0))}


def gain_model_sums(trials: Trials, before: Sequence[Array], after: Sequence[Array], evidence: Array) -> Array:
    """Sums over trials of evidence, gain, and their squares and product, float64 `[5]`: input of `fit_gain_model`.

    Args:
        trials: that were predicted.
        before: `[trials]` of outputs of the initialisation.
        after: `[trials]` of fully corrected outputs.
        evidence: `[trials]`, see `tegu.learners.algorithms.residual_correction`.
    """
    pairs, kind = zip(before, after, trials.trials, strict=True), trials.spec.kind
    gain = np.asarray([_error(kind, a, trial.query.y) - _error(kind, b, trial.query.y) for a, b, trial in pairs])
    x = evidence.astype(np.float64)
    return np.asarray([part.sum() for part in (x, gain, x * x, x * gain, gain * gain)])


def fit_gain_model(trials: float, sums: Array) -> GainModel:
    """Least-squares fit over calibration trials, with the slope limited to [0, 1].

    Args:
        trials: number of trials in the sums, above 0; not whole if they were weighted.
        sums: `[5]`, from `gain_model_sums`.
    """
    evidence, gain, evidences, both, gains = (float(total) / trials for total in sums)
    variance, covariance = evidences - evidence * evidence, both - evidence * gain
    slope = covariance / variance if variance > _ROUNDING**2 * gains else 0.0
    slope = min(max(slope, 0.0), 1.0)
    around = gains - gain * gain - 2 * slope * covariance + slope * slope * variance
    return GainModel(gain - slope * evidence, slope, max(math.sqrt(max(around, 0.0)), 1e-9))


def shrinkage(own: Guard[float], evidence: Array) -> Array:
    """The share of the correction that a device applies, before `weight`, `[trials]`."""
    if own.guard == 0:
        return np.ones_like(evidence)
    gains = normal_cdf((own.intercept + own.slope * evidence) / own.residual_sd)
    kept: Array = own.floor + (1 - own.floor) * np.clip(own.guard * (gains - 0.5), 0.0, 1.0)
    return kept


def _error(kind: Kind, output: Array, y: Array) -> float:
    """Mean squared error per row; for labels, of their probabilities. Rows beyond the last target are padding."""
    answer = _answers(kind, output[: len(y)].astype(np.float64))
    wanted = np.eye(answer.shape[1])[y] if y.ndim == 1 else y
    return float(np.square(answer - wanted).sum(-1).mean())


def _answers(kind: Kind, output: Array) -> Array:
    """Probabilities of log-probabilities or of logits of several labels, or values."""
    if kind == "multilabel":
        probabilities: Array = 1 / (1 + np.exp(-output.clip(-_MOST_LOGIT, _MOST_LOGIT)))
        return probabilities
    return np.exp(output) if kind == "classification" else output
