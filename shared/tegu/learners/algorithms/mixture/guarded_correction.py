"""Residual correction of several initialisations, with one guard for the choice and the correction together.

For an unknown user, the population's mixing weights p combine the outputs. For a known user, the responsibilities r
combine them, each corrected by the residuals of its own initialisation. The bundle interpolates between the two by
u = weight * shrinkage. With q = (1 - u) p + u r, this is each initialisation with mixing weight q and its correction
scaled by u r / q.

The leave-one-out improvement covers both steps. It is the reduction of a row's squared residual if responsibilities,
computed without the row, replace p, plus the improvement by the corrections themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, cast

from torch import Tensor

from tegu.core.calibration.guard import LOO_IMPROVEMENT, SHRINKAGE, Guard
from tegu.learners.algorithms.shrinkage import shrinkage
from tegu.learners.learner import TorchKnobs, TorchTree

__all__ = ["Corrected", "MixingWeights", "fully_corrected_knobs", "guarded_correction"]


class MixingWeights(NamedTuple):
    """Weights of the initialisations that sum to 1, one entry for each initialisation.

    Attributes:
        prior: of the population, scalars.
        posterior: responsibilities for the user, scalars.
        leave_one_out: `[rows]`, for each row the responsibilities computed from the user's other rows.
    """

    prior: Sequence[Tensor]
    posterior: Sequence[Tensor]
    leave_one_out: Sequence[Tensor]


class Corrected(NamedTuple):
    """The corrections that are applied, and the mixing weights of the corrected initialisations.

    Attributes:
        copies: for each initialisation, the entries of its state.
        weights: mixing weights, scalars.
        diagnostics: `SHRINKAGE` and `LOO_IMPROVEMENT`, scalars, as in the state of a single correction.
    """

    copies: list[TorchTree]
    weights: list[Tensor]
    diagnostics: TorchTree


def fully_corrected_knobs(knobs: TorchKnobs) -> TorchKnobs:
    """Knobs that apply the whole correction to each initialisation; the common guard then shrinks all of them."""
    own: Guard[Any] = replace(Guard.of(knobs), weight=1.0, guard=0.0, floor=0.0)
    return cast("TorchKnobs", {**knobs, **vars(own)})


def guarded_correction(
    copies: Sequence[TorchTree], mixing: MixingWeights, mask: Tensor, knobs: TorchKnobs
) -> Corrected:
    """The choice and the correction, shrunk according to the knobs and the leave-one-out improvement.

    Args:
        copies: each initialisation with its whole correction: `residuals` `[rows, outputs]`, `weights` and
            `LOO_IMPROVEMENT`, see `tegu.learners.algorithms.residual_correction`.
        mixing: mixing weights.
        mask: `[rows]`.
        knobs: knobs of the correction.
    """
    improvement = _loo_improvement(copies, mixing, mask)
    own = Guard[Any].of(knobs)
    kept = shrinkage(own, improvement)
    part = own.weight * kept
    weights = [(1 - part) * p + part * r for p, r in zip(mixing.prior, mixing.posterior, strict=True)]
    factors = [part * r / q.clamp(min=1e-12) for r, q in zip(mixing.posterior, weights, strict=True)]
    scaled = [{**copy, "weights": copy["weights"] * f} for copy, f in zip(copies, factors, strict=True)]
    return Corrected(scaled, weights, {SHRINKAGE: kept, LOO_IMPROVEMENT: improvement})


def _loo_improvement(copies: Sequence[TorchTree], mixing: MixingWeights, mask: Tensor) -> Tensor:
    residuals = [copy["residuals"] for copy in copies]
    before = _mixed(residuals, mixing.prior)
    after = _mixed(residuals, [weight.unsqueeze(-1) for weight in mixing.leave_one_out])
    reduction = (before.square() - after.square()).sum(-1)
    by_choice = (reduction * mask).sum() / mask.sum().clamp(min=1)
    return by_choice + _mixed([copy[LOO_IMPROVEMENT] for copy in copies], mixing.posterior)


def _mixed(values: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    first, *others = [weight * value for weight, value in zip(weights, values, strict=True)]
    return sum(others, first)
