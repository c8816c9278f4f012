"""The plots of a report, as inline SVG."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tegu.core.data.batch import Array
from tegu.server.evaluation.validation import Validation
from tegu.sim.evaluation.reliability import BINS, Reliability, calibration_error
from tegu.sim.reporting.table import strongest_first

__all__ = [
    "plot_curve",
    "plot_drift",
    "plot_frontier",
    "plot_gains",
    "plot_learning",
    "plot_mean_gain",
    "plot_reliability",
    "svg",
]

P = ParamSpec("P")
_ACCENT, _GREY, _HURT = "#0b6e4f", "#8a8f98", "#c1442e"
_STRATEGY_STYLES: dict[str, dict[str, Any]] = {
    "no recency": {"color": _HURT, "lw": 2},
    "recency": {"color": _ACCENT, "lw": 3},
    "resetting": {"color": "black", "lw": 1.5, "ls": ":"},
    "initialisation": {"color": _GREY, "lw": 2, "ls": "--"},
}


def svg(draw: Callable[Concatenate[Axes, P], None], *args: P.args, **kwargs: P.kwargs) -> str:
    """Draw into new axes with `draw(axes, ...)`, and return the picture; equal plots give equal bytes."""
    figure = Figure(figsize=(7.5, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    draw(axes, *args, **kwargs)
    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "tegu"}):  # ids of elements depend on it
        figure.savefig(out, format="svg", metadata={"Date": None})
    return re.sub(r"^.*?(?=<svg)", "", out.getvalue(), count=1, flags=re.DOTALL)


def plot_curve(axes: Axes, metrics: Mapping[str, Any]) -> None:
    """Plot the metric of every method by number of interactions."""
    curve = metrics["curve"]
    positions = range(len(curve))
    for name in strongest_first(metrics):
        axes.plot(positions, [entry["baselines"][name] for entry in curve], marker=".", alpha=0.7, label=name)
    axes.plot(
        positions, [entry["initialisation"] for entry in curve], color=_GREY, lw=2, ls="--", label="initialisation"
    )
    axes.plot(
        positions, [entry["personalised"] for entry in curve], color=_ACCENT, lw=3, marker="o", label="personalised"
    )
    axes.set_xticks(list(positions), [str(entry["k"]) for entry in curve])
    axes.set_xlabel("interactions (k)")
    axes.set_ylabel(metrics["metric"])
    if not metrics["higher_is_better"]:
        axes.set_yscale("log")
    axes.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))


def plot_drift(axes: Axes, metrics: Mapping[str, Any]) -> None:
    """Plot the metric of every strategy around a change of preferences."""
    drift = metrics["drift"]
    numbers = [entry["interactions"] for entry in drift["curve"]]
    for name, style in _STRATEGY_STYLES.items():
        axes.plot(numbers, [entry["figures"][name] for entry in drift["curve"]], label=name, **style)
    axes.axvline(drift["change"], color="black", lw=1)
    axes.set_xlabel("interactions; the vertical line marks the change")
    axes.set_ylabel(metrics["metric"])
    if not metrics["higher_is_better"]:
        axes.set_yscale("log")
    axes.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))


def plot_mean_gain(axes: Axes, curve: Sequence[Mapping[str, Any]]) -> None:
    """Plot the mean gain with its interval, and the mean gain of the worst decile, by number of interactions."""
    positions = range(len(curve))
    gain, low, high, worst = (
        [entry[name] for entry in curve] for name in ("gain", "gain_low", "gain_high", "worst_decile_gain")
    )
    axes.axhline(0, color="black", lw=1)
    axes.fill_between(positions, low, high, color=_ACCENT, alpha=0.2, lw=0, label="95% CI of the mean")
    axes.plot(positions, gain, color=_ACCENT, lw=3, marker="o", label="mean gain")
    axes.plot(positions, worst, color=_HURT, lw=2, ls="--", marker="o", label="mean gain, worst decile")
    axes.set_xticks(list(positions), [str(entry["k"]) for entry in curve])
    axes.set_xlabel("interactions (k)")
    axes.set_ylabel("gain over the initialisation")
    axes.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))


def plot_frontier(axes: Axes, metrics: Mapping[str, Any]) -> None:
    """Plot the mean gain of calibration users by the limit on harm, with a line for each number of interactions."""
    entries = [entry for entry in metrics["schedule"] if entry.get("frontier")]
    limits = [point["risk"] for point in max((entry["frontier"] for entry in entries), key=len)]
    for number, entry in enumerate(entries):
        points = [(limits.index(point["risk"]), point["gain"]) for point in entry["frontier"]]
        strength = 0.3 + 0.7 * (number + 1) / len(entries)
        axes.plot(*zip(*points, strict=True), color=_ACCENT, alpha=strength, marker="o", label=f"k = {entry['k']}")
    asked = entries[0].get("harm")
    if asked and asked["risk"] in limits:
        axes.axvline(limits.index(asked["risk"]), color="black", lw=1, ls=":", label="this run")
    axes.axhline(0, color="black", lw=1)
    axes.set_xticks(range(len(limits)), ["no limit" if limit is None else f"{100 * limit:.3g}%" for limit in limits])
    axes.set_xlabel("limit on materially hurt users")
    axes.set_ylabel("mean gain")
    axes.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))


def plot_gains(axes: Axes, entry: Mapping[str, Any], gains: Array) -> None:
    """Plot a histogram of the users' gains at one number of interactions."""
    low, high = min(0.0, gains.min()), max(0.0, gains.max())
    width = (high - low) / 30 or 1.0
    edges = width * np.arange(
        np.floor(low / width) - 1, np.ceil(high / width) + 2
    )  # 0 is an edge, so that no bar mixes signs
    axes.hist(gains[gains >= 0], bins=edges.tolist(), color=_ACCENT)
    axes.hist(gains[gains < 0], bins=edges.tolist(), color=_HURT)
    axes.axvline(0, color="black", lw=1)
    axes.set_title(
        f"k = {entry['k']}: mean {entry['gain']:+.3f} ({entry['gain_low']:+.3f} to {entry['gain_high']:+.3f}), "
        f"{entry['materially_hurt']:.1%} materially hurt, {entry['any_decline']:.1%} any decline",
        loc="left",
        fontsize="medium",
    )
    axes.set_xlabel("gain over the initialisation (positive is better)")
    axes.set_ylabel("users")


def plot_reliability(axes: Axes, found: Mapping[str, Reliability]) -> None:
    """Plot the accuracy in each bin of confidence."""
    axes.plot([0, 1], [0, 1], color="black", lw=1, label="perfect calibration")
    for name, colour, line in (("initialisation", _GREY, "--"), ("personalised", _ACCENT, "-")):
        each = found[name]
        filled = each.rows > 0
        confidence, accuracy, share = (
            each.confidence[filled],
            each.accuracy[filled],
            each.rows[filled] / each.rows.sum(),
        )
        axes.plot(
            confidence, accuracy, color=colour, ls=line, lw=2, label=f"{name}: error {calibration_error(each):.3f}"
        )
        axes.scatter(confidence, accuracy, s=20 + 400 * share, color=colour, alpha=0.6, lw=0)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence (probability of the predicted class)", ylabel="accuracy")
    axes.set_title(f"{BINS} bins; the area of a dot grows with its query rows", loc="left", fontsize="medium")
    axes.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))


def plot_learning(axes: Axes, points: Sequence[Validation], metric: str, kept: int) -> None:
    """Plot the validations during training."""
    rounds = [point.round for point in points]
    axes.plot(rounds, [p.initialisation for p in points], color=_GREY, ls="--", marker=".", label="initialisation")
    axes.plot(rounds, [p.personalised for p in points], color=_ACCENT, marker="o", label="personalised")
    compared = [point for point in points if math.isfinite(point.training)]  # one validation in several
    axes.plot(
        [point.round for point in compared],
        [point.training for point in compared],
        color=_HURT,
        marker=".",
        lw=1,
        label="personalised, training users",
    )
    if kept in rounds:
        axes.axvline(kept, color="black", lw=1, ls=":", label=f"kept: round {kept}")
    axes.set_xlabel("round")
    axes.set_ylabel(f"{metric} of calibration users")
    axes.legend(frameon=False, fontsize="small")
