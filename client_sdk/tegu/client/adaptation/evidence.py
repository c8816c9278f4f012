"""What is known of a way to adapt: from others with as many interactions, and from the user's own."""

from __future__ import annotations

from typing import NamedTuple

from tegu.core.bundle.manifest import Knobs, Manifest
from tegu.core.data.tree import Tree

__all__ = ["Evidence", "corrected", "evidence_from"]


class Evidence(NamedTuple):
    """See `AdaptReport`."""

    others: tuple[float, float] | None = None
    evidence: float | None = None
    in_use: float | None = None


def evidence_from(manifest: Manifest, state: Tree, knobs: Knobs, interactions: int) -> Evidence:
    """What the schedule tells of others, and the state of its user.

    Args:
        manifest: of the bundle.
        state: after adapting; the scalars `evidence` and `trust` are what a correction noted.
        knobs: that were used.
        interactions: the effective number of rows adapted on.
    """
    reached = [entry for entry in manifest.schedule if entry.k <= interactions]
    others = (reached[-1].gain, reached[-1].spread) if reached else None
    if "evidence" not in state or "trust" not in state:
        return Evidence(others)
    return Evidence(others, float(state["evidence"]), knobs.get("weight", 1.0) * float(state["trust"]))


def corrected(known: Evidence, interactions: int) -> str:
    """The account of a correction, for people."""
    population = (
        f"people with as many interactions gained {known.others[0]:.3g} +- {known.others[1]:.3g} by it; "
        if known.others is not None
        else ""
    )
    own = f"one of the {interactions} interactions is told by the others with {known.evidence:+.3g} less squared error"
    verdict = f"{known.in_use:.0%} of the correction is in use"
    if not known.in_use:
        verdict = "none of the correction is in use: the initialisation serves as it is"
    return f"{population}{own if interactions > 1 else 'one interaction tells nothing of itself'}; {verdict}"
