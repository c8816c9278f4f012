"""`report.html`: one self-contained page with tables and plots of a run."""

from __future__ import annotations

import html
import io
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
from tegu.sim.reporting.table import GAIN, decline_line, drift_line, drift_rows, gap_line, stored_line, table_rows

__all__ = ["html_table", "render_report"]

P = ParamSpec("P")
_ACCENT, _GREY, _HURT = "#0b6e4f", "#8a8f98", "#c1442e"
_CLASSES = {"personalised": "ours", GAIN: "gain"}
_STRATEGY_STYLES: dict[str, dict[str, Any]] = {
    "no recency": {"color": _HURT, "lw": 2},
    "recency": {"color": _ACCENT, "lw": 3},
    "resetting": {"color": "black", "lw": 1.5, "ls": ":"},
    "initialisation": {"color": _GREY, "lw": 2, "ls": "--"},
}
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1d2125}
h1{margin-bottom:0}h2{margin-top:2.2rem}table{border-collapse:collapse;margin:1rem 0}
td,th{padding:.35rem .8rem;text-align:right;border-bottom:1px solid #ddd}th:first-child,td:first-child{text-align:left}
tr.ours td{font-weight:600;color:#0b6e4f}tr.gain td{border-top:2px solid #1d2125}
svg{max-width:100%;height:auto}.note{color:#5b6168}.warning{color:#c1442e;font-weight:600}
"""
_TERMS = (
    "Gain: improvement of a user's metric from adapting. Its 95% confidence interval is a bootstrap over users. "
    "Worst decile: the tenth of users with the smallest gains. Hurt by adapting: users whose metric, averaged over "
    "draws of the support, declines by more than one query row contributes. Any decline: users whose metric declines "
    "at all."
)


def render_report(
    metrics: Mapping[str, Any],
    points: Sequence[Validation],
    gains: Mapping[int, Array],
    reliability: Mapping[int, Mapping[str, Reliability]],
) -> str:
    """Return the page as HTML with its plots as inline SVG.

    Args:
        metrics: the contents of `metrics.json`.
        points: the validations during training.
        gains: by k, `[users]`: the gain of each held-out user.
        reliability: by k and method (`initialisation`, `personalised`); the middle k is plotted. May be empty.
    """
    name = html.escape(f"{metrics['experiment']} · {metrics['learner']}")
    better = "higher is better" if metrics["higher_is_better"] else "lower is better"
    entries = {entry["k"]: entry for entry in metrics["curve"]}
    histograms = "".join(_svg(_plot_gains, entries[k], values) for k, values in gains.items())
    sections = [
        *_drift(metrics),
        ("Before and after adapting, by number of interactions", _svg(_plot_curve, metrics)),
        ("Gain from adapting", _svg(_plot_mean_gain, metrics["curve"])),
        ("Gains of held-out users", histograms),
        *_reliability(reliability),
        ("Training", _svg(_plot_learning, points, metrics["metric"], metrics["kept_round"])),
    ]
    body = "".join(f"<h2>{title}</h2>{picture}" for title, picture in sections)
    several = "" if metrics["initialisations"] == 1 else f"{metrics['initialisations']} initialisations. "
    calibrated = (
        f"trained, and calibrated the schedule by cross-fitting in {metrics['folds']} folds"
        if metrics["folds"]
        else f"trained and {metrics['calibration_users']} others calibrated the schedule"
    )
    summary = (
        f"{metrics['train_users']} users {calibrated}; {metrics['heldout_users']} users were held out. {several}"
        f"{metrics['rounds']} rounds with a cohort of {metrics['cohort']}, seed {metrics['seed']}, "
        f"{metrics['train_seconds']:.0f} s, {metrics['user_rounds_per_second']:.0f} user updates per second."
    )
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{name}</title><style>{_STYLE}</style>"
        f"<h1>{name}</h1><p class=note>{summary}</p>"
        f"<p>{html.escape(metrics['metric'])}, {better}, on held-out users:</p>"
        f"{html_table(table_rows(metrics))}<p class=note>{_TERMS}</p>{_notes(metrics)}{body}</html>\n"
    )


def _reliability(by_k: Mapping[int, Mapping[str, Reliability]]) -> list[tuple[str, str]]:
    if not by_k:
        return []
    k = sorted(by_k)[len(by_k) // 2]
    return [(f"Reliability: confidence and accuracy at k = {k}", _svg(_plot_reliability, by_k[k]))]


def _drift(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    if "drift" not in metrics:
        return []
    line = f"<p class=note>{html.escape(drift_line(metrics))}.</p>"
    shown = f"{line}{html_table(drift_rows(metrics))}{_svg(_plot_drift, metrics)}"
    return [("When preferences change", shown)]


def _notes(metrics: Mapping[str, Any]) -> str:
    lines = [html.escape(line) for line in (stored_line(metrics), gap_line(metrics), decline_line(metrics)) if line]
    return "".join(f"<p class={'warning' if line.startswith('warning') else 'note'}>{line}</p>" for line in lines)


def html_table(table: Sequence[Sequence[str]]) -> str:
    """A table of text as HTML; the first row is its header."""
    header, *rows = table
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    lines = [
        f"<tr class={_CLASSES.get(row[0], 'other')}>"
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row)
        + "</tr>"
        for row in rows
    ]
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def _svg(draw: Callable[Concatenate[Axes, P], None], *args: P.args, **kwargs: P.kwargs) -> str:
    figure = Figure(figsize=(7.5, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    draw(axes, *args, **kwargs)
    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "tegu"}):  # equal plots give equal bytes
        figure.savefig(out, format="svg", metadata={"Date": None})
    return re.sub(r"^.*?(?=<svg)", "", out.getvalue(), count=1, flags=re.DOTALL)


def _plot_curve(axes: Axes, metrics: Mapping[str, Any]) -> None:
    curve = metrics["curve"]
    positions = range(len(curve))
    for name in curve[0]["baselines"]:
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


def _plot_drift(axes: Axes, metrics: Mapping[str, Any]) -> None:
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


def _plot_mean_gain(axes: Axes, curve: Sequence[Mapping[str, Any]]) -> None:
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


def _plot_gains(axes: Axes, entry: Mapping[str, Any], gains: Array) -> None:
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
        f"{entry['hurt']:.1%} hurt, {entry['worse']:.1%} any decline",
        loc="left",
        fontsize="medium",
    )
    axes.set_xlabel("gain over the initialisation (positive is better)")
    axes.set_ylabel("users")


def _plot_reliability(axes: Axes, found: Mapping[str, Reliability]) -> None:
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


def _plot_learning(axes: Axes, points: Sequence[Validation], metric: str, kept: int) -> None:
    rounds = [point.round for point in points]
    axes.plot(rounds, [p.initialisation for p in points], color=_GREY, ls="--", marker=".", label="initialisation")
    axes.plot(rounds, [p.personalised for p in points], color=_ACCENT, marker="o", label="personalised")
    axes.plot(rounds, [p.training for p in points], color=_HURT, marker=".", lw=1, label="personalised, training users")
    if kept in rounds:
        axes.axvline(kept, color="black", lw=1, ls=":", label=f"kept: round {kept}")
    axes.set_xlabel("round")
    axes.set_ylabel(f"{metric} of calibration users")
    axes.legend(frameon=False, fontsize="small")
