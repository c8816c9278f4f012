"""Results of paired runs: medians, and the ratio pair by pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

__all__ = ["Comparison", "json_rows"]


@dataclass(frozen=True)
class Comparison:
    """One measure of one task, Tegu against a peer. Lower is better.

    Attributes:
        task: name of the task.
        peer: name of the peer.
        measure: what was measured, such as "time" or "memory".
        unit: unit of the values.
        tegu: Tegu's values, pair by pair.
        other: the peer's values, pair by pair.
    """

    task: str
    peer: str
    measure: str
    unit: str
    tegu: Sequence[float]
    other: Sequence[float]

    @property
    def ratios(self) -> list[float]:
        """The peer's value divided by Tegu's, pair by pair. Above 1, Tegu is better."""
        return [other / tegu for tegu, other in zip(self.tegu, self.other, strict=True)]

    def table_cells(self) -> list[str]:
        """The cells of this comparison's row in the printed table."""
        ours, theirs, ratio = median(self.tegu), median(self.other), median(self.ratios)
        return [
            self.task,
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
    """The rows of `tegu bench --json`. `ratio` is the median of `Comparison.ratios`."""
    return [
        {
            "task": c.task,
            "peer": c.peer,
            "measure": c.measure,
            "ratio": round(median(c.ratios), 3),
            "ratio_min": round(min(c.ratios), 3),
            "ratio_max": round(max(c.ratios), 3),
            "pairs": len(c.tegu),
            "tegu": _four_digits(median(c.tegu)),
            "other": _four_digits(median(c.other)),
            "unit": c.unit,
        }
        for c in comparisons
    ]


def _four_digits(value: float) -> float:
    """Rounded to four significant digits: times on a device may be microseconds."""
    return float(f"{value:.4g}")
