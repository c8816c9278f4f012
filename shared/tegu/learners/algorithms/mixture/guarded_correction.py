"""Residual correction on top of several initialisations: one account for both, so that either may be declined.

Without knowing the user, shares p of the population mix the answers; knowing it, responsibilities r mix them, each
initialisation corrected by its own residuals. The bundle goes a part u = weight * trust of the way from one to the
other. With q = (1 - u) p + u r that is each initialisation by its share q, its correction scaled by u r / q.

The evidence is what both steps are worth on the user's own rows: how much smaller the squared residual is where
responsibilities, found without the row, take the place of p; and what the corrections save besides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, cast

from torch import Tensor

from tegu.core.calibration.guard import LOO_IMPROVEMENT, SHRINKAGE, Guard
from tegu.learners.algorithms.residual_correction import shrinkage
from tegu.learners.learner import TorchKnobs, TorchTree

__all__ = ["Assigned", "Corrected", "fully_corrected_knobs", "guarded_correction"]


class Assigned(NamedTuple):
    """Shares by initialisation.

    Attributes:
        prior: of the population, scalars.
        found: responsibilities for the user, scalars.
        others: for each row what the user's other rows say, `[rows]`.
    """

    prior: Sequence[Tensor]
    found: Sequence[Tensor]
    others: Sequence[Tensor]


class Corrected(NamedTuple):
    """Corrections with the shares they are mixed by.

    Attributes:
        copies: of each initialisation, what its state is made of.
        shares: to mix by, scalars.
        notes: `SHRINKAGE` and `LOO_IMPROVEMENT`, scalars, as a correction's own state has them.
    """

    copies: list[TorchTree]
    shares: list[Tensor]
    notes: TorchTree


def fully_corrected_knobs(knobs: TorchKnobs) -> TorchKnobs:
    """The knobs by which each initialisation is wholly corrected: how far to go is decided for all together."""
    own: Guard[Any] = replace(Guard.of(knobs), weight=1.0, guard=0.0, floor=0.0)
    return cast("TorchKnobs", {**knobs, **vars(own)})


def guarded_correction(copies: Sequence[TorchTree], assigned: Assigned, mask: Tensor, knobs: TorchKnobs) -> Corrected:
    """As much of the way as the knobs and the user's own rows speak for.

    Args:
        copies: each initialisation wholly corrected: `missed` `[rows, outputs]`, `weights` and `evidence`, as
            `tegu.learners.algorithms.residual_correction` has them.
        assigned: shares.
        mask: `[rows]`.
        knobs: of the correction.
    """
    evidence = _evidence(copies, assigned, mask)
    own = Guard[Any].of(knobs)
    kept = shrinkage(own, evidence)
    part = own.weight * kept
    shares = [(1 - part) * p + part * r for p, r in zip(assigned.prior, assigned.found, strict=True)]
    factors = [part * r / q.clamp(min=1e-12) for r, q in zip(assigned.found, shares, strict=True)]
    scaled = [{**copy, "weights": copy["weights"] * f} for copy, f in zip(copies, factors, strict=True)]
    return Corrected(scaled, shares, {SHRINKAGE: kept, LOO_IMPROVEMENT: evidence})


def _evidence(copies: Sequence[TorchTree], assigned: Assigned, mask: Tensor) -> Tensor:
    missed = [copy["missed"] for copy in copies]
    before = _mixed(missed, assigned.prior)
    after = _mixed(missed, [share.unsqueeze(-1) for share in assigned.others])
    saved = (before.square() - after.square()).sum(-1)
    picking = (saved * mask).sum() / mask.sum().clamp(min=1)
    return picking + _mixed([copy[LOO_IMPROVEMENT] for copy in copies], assigned.found)


def _mixed(values: Sequence[Tensor], shares: Sequence[Tensor]) -> Tensor:
    first, *others = [share * value for share, value in zip(shares, values, strict=True)]
    return sum(others, first)
