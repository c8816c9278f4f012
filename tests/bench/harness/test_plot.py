from __future__ import annotations

import xml.etree.ElementTree as ET

from tegu.bench.harness.plot import render_plot

ROW = {
    "work": "W<1>",
    "peer": "pfl",
    "measure": "time",
    "ratio": 41.2,
    "ratio_min": 38.0,
    "ratio_max": 44.1,
    "unit": "s",
}
RESULT = {"bench": "simulate", "rows": [ROW, {**ROW, "peer": "jax-vmap", "ratio": 0.5, "ratio_min": 0.4}]}
TABLE = [["work", "peer"], ["W<1>", "pfl"]]


def test_the_picture_is_svg_and_names_every_row() -> None:
    picture = render_plot(RESULT, TABLE, as_page=False)
    ET.fromstring(picture)
    for text in ("W&lt;1&gt;, time: pfl", "W&lt;1&gt;, time: jax-vmap", "41.2", "0.5", "times better"):
        assert text in picture
    assert "#0b6e4f" in picture, "better"
    assert "#c1442e" in picture, "worse"
    assert render_plot(RESULT, TABLE, as_page=False) == picture


def test_the_page_has_the_table_too() -> None:
    page = render_plot(RESULT, TABLE, as_page=True)
    assert page.startswith("<!doctype html>")
    assert "<td>W&lt;1&gt;</td><td>pfl</td>" in page
    assert "<svg" in page


def test_no_rows_give_an_empty_picture() -> None:
    ET.fromstring(render_plot({"bench": "simulate", "rows": []}, TABLE[:1], as_page=False))
