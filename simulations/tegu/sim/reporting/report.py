"""`report.html`: one self-contained page with tables and plots of a run."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from tegu.core.data.batch import Array
from tegu.core.privacy.line import privacy_line
from tegu.server.evaluation.validation import Validation
from tegu.sim.evaluation.reliability import Reliability
from tegu.sim.reporting.calibrated import frontier_line, frontier_rows, unshown_line
from tegu.sim.reporting.plots import (
    plot_curve,
    plot_drift,
    plot_frontier,
    plot_gains,
    plot_learning,
    plot_mean_gain,
    plot_reliability,
    svg,
)
from tegu.sim.reporting.table import GAIN, decline_line, drift_line, drift_rows, gap_line, stored_line, table_rows

__all__ = ["html_table", "render_report"]

_CLASSES = {"personalised": "ours", GAIN: "gain"}
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1d2125}
h1{margin-bottom:0}h2{margin-top:2.2rem}table{border-collapse:collapse;margin:1rem 0}
td,th{padding:.35rem .8rem;text-align:right;border-bottom:1px solid #ddd}th:first-child,td:first-child{text-align:left}
tr.ours td{font-weight:600;color:#0b6e4f}tr.gain td{border-top:2px solid #1d2125}
svg{max-width:100%;height:auto}.note{color:#5b6168}.warning{color:#c1442e;font-weight:600}
"""
_TERMS = (
    "Gain: improvement of a user's metric from adapting. Its 95% confidence interval is a bootstrap over users. "
    "Worst decile: the tenth of users with the smallest gains. Materially hurt: users whose metric, averaged over "
    "draws of the support, declines by more than one query row contributes and by more than {material:.3g}% of what "
    "it is under the initialisation. Bound: with this confidence, calibration has shown that at most this share of "
    "people like the calibration users is materially hurt. Any decline: users whose metric declines at all. "
    "Harm ratio: all losses divided by all gains. Baselines are in the order of their mean over k. Their settings "
    "were chosen without held-out users."
)
_UNCERTAINTY_TERMS = (
    " Negative log-likelihood: of a query row's target under the mixture of the state's members, in nats; lower is "
    "better. Coverage: the share of targets within the central 90% interval of a value, or within the smallest set of "
    "classes with 90% of the probability. Constant spread: the same for the mean prediction with one normal "
    "distribution for all users. Variances of observations were fitted to calibration users."
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
    histograms = "".join(svg(plot_gains, entries[k], values) for k, values in gains.items())
    sections = [
        *_drift(metrics),
        ("Before and after adapting, by number of interactions", svg(plot_curve, metrics)),
        ("Gain from adapting", svg(plot_mean_gain, metrics["curve"])),
        *_frontier(metrics),
        ("Gains of held-out users", histograms),
        *_reliability(reliability),
        ("Training", svg(plot_learning, points, metrics["metric"], metrics["kept_round"])),
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
    terms = _TERMS.format(material=100 * metrics["material"])
    if any("uncertainty" in entry for entry in metrics["curve"]):
        terms += _UNCERTAINTY_TERMS
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{name}</title><style>{_STYLE}</style>"
        f"<h1>{name}</h1><p class=note>{summary}</p>"
        f"<p>{html.escape(metrics['metric'])}, {better}, on held-out users:</p>"
        f"{html_table(table_rows(metrics))}<p class=note>{terms}</p>{_notes(metrics)}{body}</html>\n"
    )


def _reliability(by_k: Mapping[int, Mapping[str, Reliability]]) -> list[tuple[str, str]]:
    if not by_k:
        return []
    k = sorted(by_k)[len(by_k) // 2]
    return [(f"Reliability: confidence and accuracy at k = {k}", svg(plot_reliability, by_k[k]))]


def _frontier(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = frontier_rows(metrics)
    if not rows:
        return []
    line = f"<p class=note>{html.escape(frontier_line(metrics))}.</p>"
    return [("Gain that each limit on harm allows", f"{line}{svg(plot_frontier, metrics)}{html_table(rows)}")]


def _drift(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    if "drift" not in metrics:
        return []
    line = f"<p class=note>{html.escape(drift_line(metrics))}.</p>"
    shown = f"{line}{html_table(drift_rows(metrics))}{svg(plot_drift, metrics)}"
    return [("When preferences change", shown)]


def _notes(metrics: Mapping[str, Any]) -> str:
    lines = [
        html.escape(line)
        for line in (
            privacy_line(metrics.get("privacy", {})),
            stored_line(metrics),
            unshown_line(metrics),
            gap_line(metrics),
            decline_line(metrics),
        )
        if line
    ]
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
