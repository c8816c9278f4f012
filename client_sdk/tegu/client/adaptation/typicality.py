"""Whether a user resembles the users that a bundle was calibrated on."""

from __future__ import annotations

from collections.abc import Callable

from tegu.core.bundle.manifest import Manifest
from tegu.core.calibration.conformal import p_value
from tegu.core.calibration.nonconformity import inputs_to_score, nonconformity
from tegu.core.data.batch import Array, NumpyBatch

__all__ = ["atypical_note", "typicality"]

_ATYPICAL = 0.05  # p-values below it are reported


def typicality(manifest: Manifest, support: NumpyBatch, predict: Callable[[Array], Array]) -> float | None:
    """The conformal p-value of the user's loss under the initialisation.

    The last schedule entry with `k` up to the number of rows is used, and the loss is taken over the newest `k` rows.

    Args:
        manifest: of the bundle.
        support: the user's rows, the newest last.
        predict: predictions of the initialisation; called once at most.

    Returns:
        See `AdaptReport.typicality`.
    """
    reached = [entry for entry in manifest.schedule if entry.k <= len(support.mask)]
    if not reached or not reached[-1].losses:
        return None
    x, y = support.x[-reached[-1].k :], support.y[-reached[-1].k :]
    return p_value(reached[-1].losses, nonconformity(manifest.spec, predict(inputs_to_score(manifest.spec, x)), x, y))


def atypical_note(p: float | None) -> str:
    """The report's sentence about an atypical user, for people; empty for a typical one."""
    if p is None or p >= _ATYPICAL:
        return ""
    return f" Your interactions are unlike those of the users this model was calibrated on (p = {p:.2g})."
