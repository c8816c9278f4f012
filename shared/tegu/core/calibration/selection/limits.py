"""The limits on harm that the owner of an app sets."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from tegu.core.calibration.harm import HARM_RATIO, MATERIAL

__all__ = ["CONFIDENCE", "RISK", "STRICT_RISK", "Limits", "Risk"]

Risk: TypeAlias = "float | Literal['strict']"
RISK = STRICT_RISK = 0.05
CONFIDENCE = 0.9


class Limits(NamedTuple):
    """Limits on harm; see `tegu.core.calibration.harm`.

    Attributes:
        risk: largest share of users that may be materially hurt.
        material: share of a user's own figure whose loss is material.
        harm_ratio: largest ratio of the losses of losers to the gains of gainers.
        confidence: with which calibration is to show that at most `risk` are hurt.
        must_show: whether it is an error if too few users calibrate to show that.
    """

    risk: float = RISK
    material: float = MATERIAL
    harm_ratio: float = HARM_RATIO
    confidence: float = CONFIDENCE
    must_show: bool = False
