"""The table and the plot of `tegu bench learners`."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

__all__ = ["learner_rows", "learners_svg", "refusals"]

_COLOURS = ("#0b6e4f", "#c1442e")
_HEADER = (
    "task",
    "learner",
    "metric",
    "1 shot",
    "5 shots",
    "initialisation",
    "hurt",
    "negative log-likelihood",
    "adapt",
    "bundle",
    "memory",
    "update",
    "training",
)


def learner_rows(results: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """A header and one row for each learner and task, with figures and 95% confidence intervals.

    Args:
        results: of `bench_learners`.
    """
    return [list(_HEADER), *(_row(each) for each in results if "refused" not in each)]


def refusals(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each learner that is not for a task, with the reason.

    Args:
        results: of `bench_learners`.
    """
    return [f"{each['learner']} on {each['task']}: {each['refused']}" for each in results if "refused" in each]


def _row(found: Mapping[str, Any]) -> list[str]:
    shots = [f"{each['personalised']:.3f} [{each['low']:.3f}, {each['high']:.3f}]" for each in found["shots"]]
    return [
        found["task"],
        found["learner"],
        found["metric"],
        *[*shots, "", ""][:2],
        f"{found['shots'][0]['initialisation']:.3f}",
        f"{max(each['hurt'] for each in found['shots']):.1%}",
        _likelihood(found["shots"][-1]),
        f"{found['adapt_ms']:.2f} ms",
        f"{found['bundle_bytes'] / 1e3:.0f} KB",
        f"{found['memory_mib']:.0f} MiB",
        f"{found['update_bytes'] / 1e3:.0f} KB",
        f"{found['train_seconds']:.0f} s",
    ]


def _likelihood(shot: Mapping[str, Any]) -> str:
    """The negative log-likelihood and the coverage at 90% with the most shots; empty for a learner without members."""
    members = shot.get("uncertainty", {}).get("members")
    return "" if members is None else f"{members['nll']:.2f} nats, {members['coverage']:.0%} covered"


def learners_svg(results: Sequence[Mapping[str, Any]]) -> str:
    """One panel for each task: every learner with one and five shots, and confidence intervals.

    Args:
        results: of `bench_learners`.
    """
    shown = [each for each in results if "refused" not in each]
    tasks = list(dict.fromkeys(each["task"] for each in shown))
    figure = Figure(figsize=(7.5, 1 + 0.34 * len(shown) + 0.7 * len(tasks)), layout="constrained")
    ratios = [sum(each["task"] == task for each in shown) for task in tasks]
    panels = figure.subplots(len(tasks), 1, squeeze=False, height_ratios=ratios)[:, 0]
    for axes, task in zip(panels, tasks, strict=True):
        own = [each for each in shown if each["task"] == task]
        for place, each in enumerate(own):
            for shot, colour in zip(each["shots"], _COLOURS, strict=False):
                axes.plot([shot["low"], shot["high"]], [place, place], color=colour, lw=2)
                axes.plot(shot["personalised"], place, "o", color=colour)
        axes.set_yticks(range(len(own)), [each["learner"] for each in own])
        axes.set_xlabel(f"{task}: {own[0]['metric']} with one (green) and five shots (red)")
        axes.spines[["top", "right"]].set_visible(False)
        axes.invert_yaxis()
    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "tegu", "svg.fonttype": "none"}):  # the same plot gives the same bytes
        figure.savefig(out, format="svg", metadata={"Date": None})
    return re.sub(r"^.*?(?=<svg)", "", out.getvalue(), count=1, flags=re.DOTALL)
