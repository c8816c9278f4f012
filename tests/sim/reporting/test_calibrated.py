"""What calibration has shown, in the table, in lines, and on the page."""

from __future__ import annotations

from typing import Any

import numpy as np
from tests.sim.reporting.test_report import GAINS, METRICS, POINTS, Page

from tegu.sim.reporting.calibrated import bound_rows, frontier_line, frontier_rows, unshown_line
from tegu.sim.reporting.report import render_report
from tegu.sim.reporting.table import table_rows


def entry(k: int, bound: float, needed: int | None, *points: tuple[float | None, float]) -> dict[str, Any]:
    harm = {
        "bound": bound, "confidence": 0.9, "people": 61, "hurt": 0.03, "harm_ratio": 0.1, "risk": 0.05,
        "needed": needed, "material": 0.05,
    }  # fmt: skip
    frontier = [{"risk": risk, "gain": gain, "hurt": gain / 10, "harm_ratio": 0.1} for risk, gain in points]
    return {"k": k, "knobs": {}, "harm": harm, "frontier": frontier}


SHOWN: dict[str, Any] = {
    **METRICS,
    "schedule": [
        entry(1, 0.04, 61, (0.05, 0.25), (None, 0.5)),
        entry(3, 0.068, 130, (0.01, 0.0), (0.05, 0.125), (None, 0.75)),
    ],
}
FRONTIER = [
    ["gain by limit on harm", "k = 1", "k = 3"],
    ["at most 1%", "-", "+0.000 (0.0%)"],
    ["at most 5%", "+0.250 (2.5%)", "+0.125 (1.2%)"],
    ["no limit", "+0.500 (5.0%)", "+0.750 (7.5%)"],
]


def test_the_bound_is_that_of_the_entry_that_applies() -> None:
    """The curve has k = 1 and 5; the schedule has 1 and 3, which serves 5 as well."""
    row = ["90% bound, calibration", "4.0%", "6.8%"]
    assert bound_rows(SHOWN) == [row]
    rows = table_rows(SHOWN)
    assert rows[[name for name, *_ in rows].index("materially hurt") + 1] == row
    later = {**SHOWN, "schedule": SHOWN["schedule"][1:]}
    assert bound_rows(later) == [["90% bound, calibration", "-", "6.8%"]]


def test_without_a_bound_there_is_no_row() -> None:
    silent = {**METRICS, "schedule": [{"k": 1, "knobs": {}, "harm": None, "frontier": []}]}
    for metrics in (METRICS, silent):
        assert bound_rows(metrics) == frontier_rows(metrics) == []
        assert unshown_line(metrics) == frontier_line(metrics) == ""
        assert "limit on harm" not in render_report(metrics, POINTS, GAINS, {})


def test_the_frontier_has_a_row_for_each_limit() -> None:
    assert frontier_rows(SHOWN) == FRONTIER
    assert "recall@10" in frontier_line(SHOWN)


def test_where_the_limit_is_not_shown_the_line_says_what_it_takes() -> None:
    assert unshown_line(SHOWN) == (
        "calibration cannot show with 90% confidence that at most 5% of people are materially hurt: it takes "
        "130 people (it had 61, 3.0% hurt) at k = 3"
    )
    never = {**SHOWN, "schedule": [entry(3, 0.2, None)]}
    assert unshown_line(never).endswith("it takes fewer of them hurt (it had 61, 3.0% hurt) at k = 3")
    assert unshown_line({**SHOWN, "schedule": SHOWN["schedule"][:1]}) == ""


def test_the_page_shows_the_frontier() -> None:
    text = render_report(SHOWN, POINTS, GAINS, {})
    page = Page(text)
    assert page.rows == [*table_rows(SHOWN), *FRONTIER]
    assert page.tags.count("svg") == 2 + len(GAINS) + 1 + 1
    picture = text.split("Gain that each limit on harm allows", 1)[1].split("</svg>", 1)[0]
    for name in ("k = 1", "k = 3", "no limit", "this run"):
        assert f"<!-- {name} -->" in picture
    assert unshown_line(SHOWN) in text


def test_means_over_seeds_are_shown_too() -> None:
    averaged = {
        **SHOWN,
        "schedule": [{**SHOWN["schedule"][0], "harm": {**SHOWN["schedule"][0]["harm"], "bound": 0.06}}],
    }
    averaged["schedule"][0]["harm"]["needed"] = np.float64(75.0)
    assert "it takes 75 people" in unshown_line(averaged)
