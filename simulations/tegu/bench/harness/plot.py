"""A plot of a benchmark: the ratio of each peer's value to Tegu's, with its range over the pairs."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["render_plot"]

_BETTER, _WORSE = "#0b6e4f", "#c1442e"
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1d2125}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.35rem .8rem;text-align:right;border-bottom:1px solid #ddd}
th:first-child,td:first-child{text-align:left}svg{max-width:100%;height:auto}
"""


def render_plot(result: Mapping[str, Any], table: Sequence[Sequence[str]], *, as_page: bool) -> str:
    """The plot as SVG, or as an HTML page that also has the table.

    Args:
        result: the object that `tegu bench --json` prints.
        table: a header and rows of cells.
        as_page: whether to give an HTML page instead of SVG.
    """
    plot = _svg(result["rows"])
    if not as_page:
        return plot
    name = html.escape(f"tegu bench {result['bench']}")
    lines = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in table]
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{name}</title><style>{_STYLE}</style>"
        f"<h1>{name}</h1>{plot}<table><tr>{'</tr><tr>'.join(lines)}</tr></table></html>\n"
    )


def _svg(rows: Sequence[Mapping[str, Any]]) -> str:
    figure = Figure(figsize=(7.5, 1.2 + 0.4 * len(rows)), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    _draw(axes, rows)
    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "tegu", "svg.fonttype": "none"}):  # the same plot gives the same bytes
        figure.savefig(out, format="svg", metadata={"Date": None})
    return re.sub(r"^.*?(?=<svg)", "", out.getvalue(), count=1, flags=re.DOTALL)


def _draw(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    for position, row in enumerate(rows):
        colour = _BETTER if row["ratio"] >= 1 else _WORSE
        axes.plot([row["ratio_min"], row["ratio_max"]], [position, position], color=colour, lw=2)
        axes.plot(row["ratio"], position, "o", color=colour)
        axes.annotate(f"{row['ratio']:.3g}", (row["ratio"], position), xytext=(0, 6), textcoords="offset points")
    axes.axvline(1, color="black", lw=1)
    axes.set_xscale("log")
    axes.set_yticks(range(len(rows)), [f"{row['task']}, {row['measure']}: {row['peer']}" for row in rows])
    axes.margins(y=0.3)
    axes.invert_yaxis()
    axes.set_xlabel("peer / Tegu, median and range over pairs (above 1: Tegu is better)")
