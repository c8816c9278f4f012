from __future__ import annotations

import xml.etree.ElementTree as ET

from tegu.bench.harness.plot import render_plot

ROW = {
    "task": "W<1>",
    "peer": "pfl",
    "measure": "time",
    "ratio": 41.2,
    "ratio_min": 38.0,
    "ratio_max": 44.1,
    "unit": "s",
}
RESULT = {"bench": "simulate", "rows": [ROW, {**ROW, "peer": "jax-vmap", "ratio": 0.5, "ratio_min": 0.4}]}
TABLE = [["task", "peer"], ["W<1>", "pfl"]]


def test_the_plot_is_svg_with_a_label_for_every_row() -> None:
    plot = render_plot(RESULT, TABLE, as_page=False)
    ET.fromstring(plot)
    for text in ("W&lt;1&gt;, time: pfl", "W&lt;1&gt;, time: jax-vmap", "41.2", "0.5", "peer / Tegu"):
        assert text in plot
    assert "#0b6e4f" in plot, "better"
    assert "#c1442e" in plot, "worse"
    assert render_plot(RESULT, TABLE, as_page=False) == plot


def test_the_page_also_has_the_table() -> None:
    page = render_plot(RESULT, TABLE, as_page=True)
    assert page.startswith("<!doctype html>")
    assert "<td>W&lt;1&gt;</td><td>pfl</td>" in page
    assert "<svg" in page


def test_no_rows_give_an_empty_plot() -> None:
    ET.fromstring(render_plot({"bench": "simulate", "rows": []}, TABLE[:1], as_page=False))
