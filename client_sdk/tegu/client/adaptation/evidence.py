"""How well adapting works: for calibration users with as many interactions, and for this user."""

from __future__ import annotations

from dataclasses import fields
from typing import NamedTuple

from tegu.core.bundle.manifest import Knobs, Manifest, entry_for
from tegu.core.calibration.guard import LOO_IMPROVEMENT, SHRINKAGE, Guard
from tegu.core.data.tree import Tree
from tegu.core.errors import RuntimeFailure

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

    Raises:
        RuntimeFailure: the bundle is guarded, and the state or the knobs lack the guard's scalars.
    """
    entry = entry_for(manifest, interactions)
    calibration_gain = None if entry is None else (entry.gain, entry.gain_sd)
    if not manifest.guarded:
        return Evidence(calibration_gain)
    found = {name: state[name] for name in (LOO_IMPROVEMENT, SHRINKAGE) if name in state and state[name].size == 1}
    if len(found) < 2 or not {field.name for field in fields(Guard)} <= set(knobs):
        raise RuntimeFailure(
            f"the bundle says that it is guarded, and its state holds {sorted(state)} and its knobs are "
            f"{sorted(knobs)}: export the bundle again"
        )
    improvement, shrinkage = (float(found[name].item()) for name in (LOO_IMPROVEMENT, SHRINKAGE))
    return Evidence(calibration_gain, improvement, Guard.of(knobs).weight * shrinkage)


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
