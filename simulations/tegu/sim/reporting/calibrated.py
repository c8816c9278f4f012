"""What calibration has shown, as text: the bound on materially hurt users, and the gain that each limit allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["bound_rows", "frontier_line", "frontier_rows", "unshown_line"]


def bound_rows(metrics: Mapping[str, Any]) -> list[list[str]]:
    """Return the row of the bounds on the share of materially hurt users; none if calibration has shown no bound.

    Args:
        metrics: the contents of `metrics.json`.
    """
    applied = [_applied(metrics, entry["k"]) for entry in metrics["curve"]]
    shown = [entry["harm"] for entry in applied if entry is not None]
    if not shown:
        return []
    cells = ["-" if entry is None else f"{entry['harm']['bound']:.1%}" for entry in applied]
    return [[f"{shown[0]['confidence']:.0%} bound, calibration", *cells]]


def unshown_line(metrics: Mapping[str, Any]) -> str:
    """Return where the limit on materially hurt users could not be shown, and how many people it takes; else empty.

    Args:
        metrics: the contents of `metrics.json`.
    """
    found = [entry for entry in _schedule(metrics) if entry["harm"]["bound"] > entry["harm"]["risk"]]
    if not found:
        return ""
    parts = ", ".join(f"{_needed(entry['harm'])} at k = {entry['k']}" for entry in found)
    first = found[0]["harm"]
    return (
        f"calibration cannot show with {first['confidence']:.0%} confidence that at most {first['risk']:.0%} of people "
        f"are materially hurt: it takes {parts}"
    )


def _needed(harm: Mapping[str, Any]) -> str:
    enough = "fewer of them hurt" if harm["needed"] is None else f"{harm['needed']:.0f} people"
    return f"{enough} (it had {harm['people']:.0f}, {harm['hurt']:.1%} hurt)"


def frontier_rows(metrics: Mapping[str, Any]) -> list[list[str]]:
    """Return the frontier: a header and a row for each limit, with the mean gain of calibration users at each k.

    A cell has the gain and, in brackets, the share of materially hurt users. Empty if there is no frontier.

    Args:
        metrics: the contents of `metrics.json`.
    """
    entries = [entry for entry in metrics.get("schedule", ()) if entry.get("frontier")]
    if not entries:
        return []
    limits = [point["risk"] for point in max((entry["frontier"] for entry in entries), key=len)]
    rows = [["gain by limit on harm", *(f"k = {entry['k']}" for entry in entries)]]
    for limit in limits:
        points = [next((point for point in entry["frontier"] if point["risk"] == limit), None) for entry in entries]
        rows.append([_limit(limit), *(_point(point) for point in points)])
    return rows


def frontier_line(metrics: Mapping[str, Any]) -> str:
    """Return the caption of the table of `frontier_rows`; empty if there is none.

    Args:
        metrics: the contents of `metrics.json`.
    """
    if not frontier_rows(metrics):
        return ""
    return (
        f"mean gain in {metrics['metric']} and, in brackets, the share of materially hurt users. Half of the "
        "calibration users choose under each limit and the other half measure the choice, so that a share above its "
        "limit says that so few people cannot hold it"
    )


def _limit(risk: float | None) -> str:
    return "no limit" if risk is None else f"at most {100 * risk:.3g}%"


def _point(point: Mapping[str, Any] | None) -> str:
    return "-" if point is None else f"{point['gain']:+.3f} ({point['hurt']:.1%})"


def _schedule(metrics: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The entries of the schedule that have shown something."""
    return [entry for entry in metrics.get("schedule", ()) if entry.get("harm")]


def _applied(metrics: Mapping[str, Any], k: int) -> Mapping[str, Any] | None:
    """The entry of the schedule that a user with `k` interactions gets; None if it has shown nothing."""
    entries = [entry for entry in metrics.get("schedule", ()) if entry["k"] <= k]
    return entries[-1] if entries and entries[-1].get("harm") else None
