"""Tables and notes of a run as text, for the terminal, the report and the README."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tegu.sim.evaluation.drift_replay import PLAIN, RECENT
from tegu.sim.reporting.calibrated import bound_rows

__all__ = [
    "GAIN",
    "decline_line",
    "drift_line",
    "drift_rows",
    "gap_line",
    "markdown",
    "stored_line",
    "strongest_first",
    "table_rows",
]

GAIN = "mean gain"
_ADAPTING = (
    (GAIN, "gain", "+.3f"),
    ("gain, 95% CI lower", "gain_low", "+.3f"),
    ("gain, 95% CI upper", "gain_high", "+.3f"),
    ("mean gain, worst decile", "worst_decile_gain", "+.3f"),
    ("materially hurt", "materially_hurt", ".1%"),
    ("any decline", "any_decline", ".1%"),
    ("harm ratio", "harm_ratio", ".2f"),
    ("harm ratio less noise", "harm_ratio_less_noise", ".2f"),
)
_UNCERTAINTY = (
    ("negative log-likelihood", "members", "nll", ".3f"),
    ("negative log-likelihood, constant spread", "constant_spread", "nll", ".3f"),
    ("coverage at 90%", "members", "coverage", ".1%"),
    ("coverage at 90%, constant spread", "constant_spread", "coverage", ".1%"),
)
_SINCE = (0, 1, 2, 5, 10, 20, 40)  # interactions after a change


def table_rows(metrics: Mapping[str, Any]) -> list[list[str]]:
    """Return the table of a run: a header, a row for each method, and rows on gain and harm; a column for each k.

    Args:
        metrics: the contents of `metrics.json`.
    """
    curve: Sequence[Mapping[str, Any]] = metrics["curve"]
    rows = [[metrics["metric"], *(f"k = {entry['k']}" for entry in curve)]]
    rows += [[name, *(f"{entry[name]:.3f}" for entry in curve)] for name in ("personalised", "initialisation")]
    rows += [[name, *(f"{entry['baselines'][name]:.3f}" for entry in curve)] for name in strongest_first(metrics)]
    adapting = [[title, *(_figure(entry[name], form) for entry in curve)] for title, name, form in _ADAPTING]
    after = [title for title, *_ in _ADAPTING].index("materially hurt") + 1
    rows += [*adapting[:after], *bound_rows(metrics), *adapting[after:], *_uncertainty_rows(curve)]
    rows.append(["held-out users", *(str(entry["users"]) for entry in curve)])
    return rows


def _uncertainty_rows(curve: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Rows of a learner whose state has several members; none for another."""
    found = [entry.get("uncertainty", {}) for entry in curve]
    return [
        [title, *(_figure(each.get(source, {}).get(name), form) for each in found)]
        for title, source, name, form in _UNCERTAINTY
        if any(source in each for each in found)
    ]


def strongest_first(metrics: Mapping[str, Any]) -> list[str]:
    """Return the names of the baselines, the one with the best mean over k first.

    Args:
        metrics: the contents of `metrics.json`.
    """
    curve: Sequence[Mapping[str, Any]] = metrics["curve"]

    def total(name: str) -> float:
        return float(sum(entry["baselines"][name] for entry in curve))

    return sorted(curve[0]["baselines"], key=total, reverse=metrics["higher_is_better"])


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"


def drift_rows(metrics: Mapping[str, Any]) -> list[list[str]]:
    """Return the table of the drift replay: a header and a row for each strategy, a column for each of a few moments.

    A moment is a number of interactions; `+5` is five interactions after the change. The column `recovered` is the
    number of interactions after the change until users have recovered. The column `unchanged` is the metric at the end
    of the same streams without a change.

    Args:
        metrics: the contents of `metrics.json`, with `drift`.
    """
    drift = metrics["drift"]
    change, curve = drift["change"], drift["curve"]
    wanted = [(change // 5, False), (change, False), *((change + since, True) for since in _SINCE)]
    at = {(entry["interactions"], entry["changed"]): entry for entry in curve}
    shown = [(moment, at[moment]) for moment in wanted if moment in at]
    titles = [f"+{number - change}" if changed else str(number) for (number, changed), _ in shown]
    entries = [*(entry for _, entry in shown), drift["steady"]]
    rows = [[metrics["metric"], *titles, "recovered", "unchanged"]]
    for name in curve[0]["figures"]:
        *cells, end = [f"{entry['figures'][name]:.3f}" for entry in entries]
        number = drift["recovered"][name]
        rows.append([name, *cells, "-" if number is None else str(number), end])
    for title, name, form in _ADAPTING[:3]:
        *cells, end = [f"{entry[name]:{form}}" for entry in entries]
        rows.append([f"{RECENT}: {title}", *cells, "", end])
    return rows


def drift_line(metrics: Mapping[str, Any]) -> str:
    """Return the caption of the table of `drift_rows`.

    Args:
        metrics: the contents of `metrics.json`, with `drift`.
    """
    drift = metrics["drift"]
    chosen = ", ".join("none" if half_life is None else f"{half_life:g}" for half_life in drift["chosen"])
    return (
        f"{metrics['metric']} of {drift['people']} held-out users whose preferences change after {drift['change']} "
        f"interactions, with adaptation after each; half-life {chosen}, chosen on calibration users; "
        f"gains are relative to {PLAIN}"
    )


def stored_line(metrics: Mapping[str, Any]) -> str:
    """Return the bytes saved and the loss from the stored precision; empty if that is float32.

    Args:
        metrics: the contents of `metrics.json`.
    """
    if "precision" not in metrics:
        return ""
    stored = metrics["precision"]
    sign = -1 if metrics["higher_is_better"] else 1
    costs = ", ".join(
        f"{entry['personalised']:.4f} → {entry['personalised'] + sign * stored['loss'][str(entry['k'])]:.4f} "
        f"at k = {entry['k']}"
        for entry in metrics["curve"]
    )
    sizes = f"{stored['float32_bytes'] / 1000:.1f} KB → {stored['bytes'] / 1000:.1f} KB"
    return f"stored as {stored['name']}: {sizes}; {metrics['metric']} {costs}"


def gap_line(metrics: Mapping[str, Any]) -> str:
    """Return the validation figures of the kept parameters on training and calibration users; empty if not known.

    Args:
        metrics: the contents of `metrics.json`.
    """
    found = metrics.get("training_gap", {})
    if found.get("training") is None:
        return ""
    error = "" if found["error"] is None else f" (standard error of the difference: {found['error']:.2g})"
    return (
        f"after round {found['round']}, {metrics['metric']} is {found['training']:.4g} on training users and "
        f"{found['personalised']:.4g} on calibration users{error}"
    )


def further_lines(metrics: Mapping[str, Any]) -> list[str]:
    """Return a line for each set of further held-out users, such as official episodes.

    Args:
        metrics: the contents of `metrics.json`.
    """
    return [
        f"{name}, {found['users']} users at k = {found['k']}: {metrics['metric']} {found['personalised']:.3f}, "
        f"initialisation {found['initialisation']:.3f}"
        for name, found in metrics.get("further", {}).items()
    ]


def decline_line(metrics: Mapping[str, Any]) -> str:
    """Return a warning if the validation figure has clearly declined from its best; otherwise empty.

    Args:
        metrics: the contents of `metrics.json`.
    """
    warning = metrics.get("decline", {}).get("warning")
    return f"warning: {warning}" if warning else ""


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return the rows as a Markdown table with aligned columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]

    def line(cells: Sequence[str]) -> str:
        first, *others = (cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(cells, widths)))  # noqa: B905 # rows are of one length
        return "| " + " | ".join([first, *others]) + " |"

    rule = "|" + "|".join("-" * (w + 1) + (":" if i else "-") for i, w in enumerate(widths)) + "|"
    return "\n".join([line(rows[0]), rule, *map(line, rows[1:])])
