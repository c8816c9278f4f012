"""How well adapting works: for calibration users with as many interactions, and for this user."""

from __future__ import annotations

from typing import NamedTuple

from tegu.core.bundle.manifest import Knobs, Manifest
from tegu.core.calibration.guard import LOO_IMPROVEMENT, SHRINKAGE, Guard
from tegu.core.data.tree import Tree

__all__ = ["Evidence", "correction_note", "evidence_from"]


class Evidence(NamedTuple):
    """The attributes of the same names in `AdaptReport`."""

    calibration_gain: tuple[float, float] | None = None
    loo_improvement: float | None = None
    applied_share: float | None = None


def evidence_from(manifest: Manifest, state: Tree, knobs: Knobs, interactions: int) -> Evidence:
    """The evidence in a bundle's schedule and in the user's state.

    Args:
        manifest: of the bundle.
        state: after adapting. A guarded learner stores the scalars `LOO_IMPROVEMENT` and `SHRINKAGE` in it.
        knobs: used for adapting.
        interactions: effective number of interactions adapted on, rounded.
    """
    reached = [entry for entry in manifest.schedule if entry.k <= interactions]
    calibration_gain = (reached[-1].gain, reached[-1].gain_sd) if reached else None
    if not manifest.guarded:
        return Evidence(calibration_gain)
    return Evidence(calibration_gain, float(state[LOO_IMPROVEMENT]), Guard.of(knobs).weight * float(state[SHRINKAGE]))


def correction_note(evidence: Evidence, interactions: int) -> str:
    """The report's sentences about a correction, for people.

    Args:
        evidence: with `loo_improvement`.
        interactions: number of interactions adapted on.
    """
    sentences = []
    if evidence.calibration_gain is not None:
        mean, deviation = evidence.calibration_gain
        sentences.append(f"Calibration users with as many interactions gained {mean:.3g} +- {deviation:.3g}.")
    if interactions > 1:
        sentences.append(_loo_sentence(evidence.loo_improvement or 0.0, interactions))
    else:
        sentences.append("One interaction is too few for a leave-one-out error.")
    if evidence.applied_share:
        sentences.append(f"{evidence.applied_share:.0%} of the correction is applied.")
    else:
        sentences.append("None of the correction is applied, so the initialisation is used unchanged.")
    return " ".join(sentences)


def _loo_sentence(improvement: float, interactions: int) -> str:
    change = "worsens" if improvement < 0 else "improves"
    return f"Leave-one-out error on your {interactions} interactions {change} by {abs(improvement):.3g}."
