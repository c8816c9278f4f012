"""Whether a user is like the people that an initialisation was calibrated on."""

from __future__ import annotations

from collections.abc import Callable

from tegu.core.bundle.manifest import Manifest
from tegu.core.calibration.conformal import p_value
from tegu.core.calibration.nonconformity import inputs_to_score, nonconformity
from tegu.core.data.batch import Array, NumpyBatch

__all__ = ["typical", "unlike"]

_UNLIKE = 0.05


def typical(manifest: Manifest, support: NumpyBatch, predict: Callable[[Array], Array]) -> float | None:
    """The conformal p-value of the user's loss under the initialisation.

    Of the schedule's last entry that is reached: the newest `k` interactions, as many as its losses are of.

    Args:
        manifest: of the bundle.
        support: the user's rows, the newest last.
        predict: the initialisation's answers; called once at most.

    Returns:
        See `AdaptReport.typical`.
    """
    reached = [entry for entry in manifest.schedule if entry.k <= len(support.mask)]
    if not reached or not reached[-1].losses:
        return None
    x, y = support.x[-reached[-1].k :], support.y[-reached[-1].k :]
    return p_value(reached[-1].losses, nonconformity(manifest.spec, predict(inputs_to_score(manifest.spec, x)), x, y))


def unlike(p: float | None) -> str:
    """What a p-value says, for people; nothing where it says nothing."""
    return f"; unlike the people this was trained with (p = {p:.2g})" if p is not None and p < _UNLIKE else ""
