"""Two kinds of work in turn, A B A B: medians, and the spread of the ratio pair by pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

__all__ = ["Comparison", "json_rows"]


@dataclass(frozen=True)
class Comparison:
    """One measure of one work, Tegu against a peer.

    Attributes:
        work: what was done.
        peer: by whom else.
        measure: "time" or "memory".
        unit: of the figures.
        tegu: Tegu's figures, pair by pair.
        other: the peer's.
    """

    work: str
    peer: str
    measure: str
    unit: str
    tegu: Sequence[float]
    other: Sequence[float]

    @property
    def ratios(self) -> list[float]:
        """How many times better Tegu is, pair by pair."""
        return [other / tegu for tegu, other in zip(self.tegu, self.other, strict=True)]

    def texts(self) -> list[str]:
        """The cells of its row in a table."""
        ours, theirs, ratio = median(self.tegu), median(self.other), median(self.ratios)
        return [
            self.work,
            self.measure,
            f"{ours:.3g} {self.unit}",
            self.peer,
            f"{theirs:.3g} {self.unit}",
            f"{1 / ratio:.3f}",
            f"{ratio:.1f}",
            f"{min(self.ratios):.1f} - {max(self.ratios):.1f}",
            str(len(self.tegu)),
        ]


def json_rows(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """Comparisons as the rows of `tegu bench --json`; `ratio` is how many times better Tegu is."""
    return [
        {
            "work": c.work,
            "peer": c.peer,
            "measure": c.measure,
            "ratio": round(median(c.ratios), 3),
            "ratio_min": round(min(c.ratios), 3),
            "ratio_max": round(max(c.ratios), 3),
            "pairs": len(c.tegu),
            "tegu": _short(median(c.tegu)),
            "other": _short(median(c.other)),
            "unit": c.unit,
        }
        for c in comparisons
    ]


def _short(figure: float) -> float:
    """To four digits, whatever its size: seconds of a device are small."""
    return float(f"{figure:.4g}")
