"""The tables of a run and its report."""

from __future__ import annotations

import copy
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from tegu.server.evaluation.validation import Validation
from tegu.sim.evaluation.reliability import Reliability
from tegu.sim.reporting.report import render_report
from tegu.sim.reporting.table import decline_line, drift_line, drift_rows, gap_line, markdown, stored_line, table_rows

METRICS: dict[str, Any] = {
    "experiment": "films & <more>",
    "learner": "reptile",
    "seed": 3,
    "rounds": 40,
    "kept_round": 40,
    "cohort": 7,
    "initialisations": 1,
    "folds": 0,
    "train_users": 71,
    "calibration_users": 12,
    "heldout_users": 23,
    "metric": "recall@10",
    "higher_is_better": True,
    "material": 0.04,
    "curve": [
        {
            "k": k,
            "users": 23 - k,
            "initialisation": 0.3,
            "personalised": 0.3 + k / 100,
            "gain": k / 100,
            "gain_low": k / 100 - 0.02,
            "gain_high": k / 100 + 0.03,
            "materially_hurt": 0.004,
            "any_decline": 0.25,
            "harm_ratio": None if k == 1 else 0.125,
            "harm_ratio_less_noise": None if k == 1 else 0.0625,
            "worst_decile_gain": -0.1,
            "baselines": {"popularity": 0.315, "local_only": 0.111},
        }
        for k in (1, 5)
    ],
    "train_seconds": 41.2,
    "user_rounds_per_second": 1234.5,
}
POINTS = [Validation(1, 0.1, 0.11), Validation(40, 0.3, 0.4)]
GAINS = {1: np.asarray([0.1, -0.1, 0.0]), 5: np.asarray([0.2, 0.1])}
ROWS = [
    ["recall@10", "k = 1", "k = 5"],
    ["personalised", "0.310", "0.350"],
    ["initialisation", "0.300", "0.300"],
    ["popularity", "0.315", "0.315"],
    ["local_only", "0.111", "0.111"],
    ["mean gain", "+0.010", "+0.050"],
    ["gain, 95% CI lower", "-0.010", "+0.030"],
    ["gain, 95% CI upper", "+0.040", "+0.080"],
    ["mean gain, worst decile", "-0.100", "-0.100"],
    ["materially hurt", "0.4%", "0.4%"],
    ["any decline", "25.0%", "25.0%"],
    ["harm ratio", "-", "0.12"],
    ["harm ratio less noise", "-", "0.06"],
    ["held-out users", "22", "18"],
]


GAP = {"round": 40, "initialisation": 0.3, "personalised": 0.4, "training": 0.46, "gap": 0.06, "error": 0.05}


def test_the_difference_between_training_and_validation_is_no_warning() -> None:
    wide = {**METRICS, "training_gap": {**GAP, "training": 0.9, "gap": 0.5}}
    assert "0.9 on training users and 0.4 on calibration users (standard error of the difference: 0.05)" in gap_line(
        wide
    )
    report = render_report(wide, POINTS, GAINS, {})
    assert f"<p class=note>{gap_line(wide)}</p>" in report
    assert "<p class=warning>" not in report
    unknown = {**METRICS, "training_gap": {**GAP, "training": None, "gap": None, "error": None}}
    assert gap_line(unknown) == gap_line(METRICS) == ""


def test_a_decline_is_shown_as_a_warning() -> None:
    calm, declined = ({**METRICS, "decline": {"since": 20, "warning": warning}} for warning in ("", "0.05 worse"))
    assert decline_line(calm) == decline_line(METRICS) == ""
    assert decline_line(declined) == "warning: 0.05 worse"
    assert "<p class=warning>" not in render_report(calm, POINTS, GAINS, {})
    assert "<p class=warning>warning: 0.05 worse</p>" in render_report(declined, POINTS, GAINS, {})


def test_the_kept_round_is_marked() -> None:
    assert "<!-- kept: round 40 -->" in render_report(METRICS, POINTS, GAINS, {})
    assert "<!-- kept: round 1 -->" in render_report({**METRICS, "kept_round": 1}, POINTS, GAINS, {})


class Page(HTMLParser):
    """Tags, attributes that load or run something, and cells of tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[tuple[str, str | None]] = []
        self.rows: list[list[str]] = []
        self._cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        links = {"href", "src", "xlink:href", "action", "data", "srcset"}
        self.loads += [(name, v) for name, v in attrs if name in links or name.startswith("on")]
        if tag == "tr":
            self.rows.append([])
        self._cell = tag in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._cell:
            self.rows[-1].append(data)
            self._cell = False


def test_the_rows_of_the_table() -> None:
    assert table_rows(METRICS) == ROWS


def test_the_table_in_markdown() -> None:
    assert markdown([["m", "k = 1"], ["a method", "0.5"]]) == (
        "| m        | k = 1 |\n"
        "|----------|------:|\n"
        "| a method |   0.5 |"
    )  # fmt: skip
    lines = markdown(ROWS).splitlines()
    assert len({len(line) for line in lines}) == 1
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [*cells[:1], *cells[2:]] == ROWS
    assert all(re.fullmatch(r"-+:", cell) for cell in cells[1][1:])


STORED = {"name": "int8", "bytes": 53_160, "float32_bytes": 198_000, "loss": {"1": 0.002, "5": -0.001}}


@pytest.mark.parametrize(
    ("higher", "costs"),
    [
        (True, "0.3100 → 0.3080 at k = 1, 0.3500 → 0.3510 at k = 5"),
        (False, "0.3100 → 0.3120 at k = 1, 0.3500 → 0.3490 at k = 5"),
    ],
)
def test_the_line_on_the_cost_of_storage(higher: bool, costs: str) -> None:
    line = stored_line({**METRICS, "higher_is_better": higher, "precision": STORED})
    assert line == f"stored as int8: 198.0 KB → 53.2 KB; recall@10 {costs}"
    assert stored_line(METRICS) == ""


def test_the_page_shows_the_cost_of_storage() -> None:
    metrics = {**METRICS, "precision": STORED}
    assert stored_line(metrics) in render_report(metrics, POINTS, GAINS, {})
    assert "stored as" not in render_report(METRICS, POINTS, GAINS, {})


def test_the_page_loads_nothing() -> None:
    page = Page(render_report(METRICS, POINTS, GAINS, {}))
    assert not {"script", "link", "img", "iframe", "object", "embed", "base"} & set(page.tags)
    assert all(value is not None and value.startswith("#") for _, value in page.loads), (
        "links must stay within the page"
    )
    css = "".join(re.findall(r"<style.*?</style>", render_report(METRICS, POINTS, GAINS, {}), flags=re.DOTALL))
    assert "@import" not in css
    assert not re.findall(r"url\((?!['\"]?#)", render_report(METRICS, POINTS, GAINS, {}))


def test_the_page_has_every_row_and_plot() -> None:
    text = render_report(METRICS, POINTS, GAINS, {})
    page = Page(text)
    assert page.rows == ROWS
    assert page.tags.count("svg") == 2 + len(GAINS) + 1
    pictures = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    for picture in pictures:
        ET.fromstring(picture)
    assert all("<path" in picture for picture in pictures)
    for figure in (71, 12, 23, 40, "seed 3", "41 s", "1234 user updates per second"):
        assert str(figure) in text
    assert "higher is better" in text
    assert "by more than 4% of what it is under the initialisation" in text
    assert "films &amp; &lt;more&gt;" in text
    assert "<more>" not in text


def test_the_page_names_the_numbers_of_users() -> None:
    assert "71 users trained and 12 others calibrated the schedule; 23 users were held out" in render_report(
        METRICS, POINTS, GAINS, {}
    )
    crossed = render_report({**METRICS, "folds": 4, "calibration_users": 71}, POINTS, GAINS, {})
    assert (
        "71 users trained, and calibrated the schedule by cross-fitting in 4 folds; 23 users were held out" in crossed
    )


def test_the_page_is_the_same_bytes_for_the_same_run() -> None:
    first = render_report(METRICS, POINTS, GAINS, {})
    assert render_report(copy.deepcopy(METRICS), list(POINTS), dict(GAINS), {}) == first
    assert render_report(METRICS, POINTS[:1], GAINS, {}) != first
    assert render_report(METRICS, POINTS, GAINS | {1: np.asarray([0.3, 0.2, 0.1])}, {}) != first
    assert not re.search(r"20\d\d-\d\d-\d\d", first), "no date"


def test_the_plots_agree_with_the_table() -> None:
    text = render_report(METRICS, POINTS, GAINS, {})
    assert "<!-- k = 5: mean +0.050 (+0.030 to +0.080), 0.4% materially hurt, 25.0% any decline -->" in text
    assert "Gain from adapting" in text


def _moment(interactions: int, changed: bool, none: float, recency: float) -> dict[str, Any]:
    figures = {"no recency": none, "recency": recency, "resetting": 0.5, "initialisation": 0.25}
    shown = {"gain": none - recency, "gain_low": none - recency - 0.01, "gain_high": none - recency + 0.02}
    return {"interactions": interactions, "changed": changed, "figures": figures, **shown}


DRIFT: dict[str, Any] = {
    **METRICS,
    "metric": "mse",
    "higher_is_better": False,
    "drift": {
        "people": 23,
        "change": 10,
        "chosen": [2.5, None],
        "curve": [
            *(_moment(number, False, 0.5, 0.75) for number in range(1, 11)),
            *(_moment(number, True, 9.0, number / 8) for number in range(10, 16)),
        ],
        "steady": _moment(15, False, 0.375, 0.625),
        "recovered": {"no recency": None, "recency": 4, "resetting": 0, "initialisation": None},
    },
}
DRIFT_ROWS = [
    ["mse", "2", "10", "+0", "+1", "+2", "+5", "recovered", "unchanged"],
    ["no recency", "0.500", "0.500", "9.000", "9.000", "9.000", "9.000", "-", "0.375"],
    ["recency", "0.750", "0.750", "1.250", "1.375", "1.500", "1.875", "4", "0.625"],
    ["resetting", *["0.500"] * 6, "0", "0.500"],
    ["initialisation", *["0.250"] * 6, "-", "0.250"],
    ["recency: mean gain", "-0.250", "-0.250", "+7.750", "+7.625", "+7.500", "+7.125", "", "-0.250"],
    ["recency: gain, 95% CI lower", "-0.260", "-0.260", "+7.740", "+7.615", "+7.490", "+7.115", "", "-0.260"],
    ["recency: gain, 95% CI upper", "-0.230", "-0.230", "+7.770", "+7.645", "+7.520", "+7.145", "", "-0.230"],
]


def test_the_table_of_users_whose_preferences_change() -> None:
    assert drift_rows(DRIFT) == DRIFT_ROWS
    assert drift_line(DRIFT) == (
        "mse of 23 held-out users whose preferences change after 10 interactions, with adaptation after each; "
        "half-life 2.5, none, chosen on calibration users; gains are relative to no recency"
    )


def test_the_page_shows_users_whose_preferences_change() -> None:
    text = render_report(DRIFT, POINTS, GAINS, {})
    page = Page(text)
    assert page.rows == table_rows(DRIFT) + [[cell for cell in row if cell] for row in DRIFT_ROWS]
    assert page.tags.count("svg") == 2 + len(GAINS) + 1 + 1
    assert drift_line(DRIFT) in text
    picture = text.split("When preferences change", 1)[1].split("</svg>", 1)[0]
    for name in ("no recency", "recency", "resetting", "initialisation", "interactions; the vertical line marks"):
        assert f"<!-- {name}" in picture
    assert "When preferences change" not in render_report(METRICS, POINTS, GAINS, {})


@pytest.mark.parametrize(("ks", "drawn"), [((1,), 1), ((1, 5), 5), ((20, 1, 5), 5)])
def test_reliability_is_plotted_for_the_middle_k_alone(ks: tuple[int, ...], drawn: int) -> None:
    def at(right: float) -> Reliability:
        rows = np.zeros(15, np.int64)
        rows[[8, 14]] = 30, 10
        return Reliability(rows, np.where(rows, 0.5, 0.0), np.where(rows, right, 0.0))

    by_k = {k: {"initialisation": at(0.5 - k / 100), "personalised": at(0.5)} for k in ks}
    text = render_report(METRICS, POINTS, GAINS, by_k)
    assert re.findall(r"accuracy at k = (\d+)</h2>", text) == [str(drawn)]
    assert f"<!-- initialisation: error {drawn / 100:.3f} -->" in text
    assert "<!-- personalised: error 0.000 -->" in text
    assert Page(text).tags.count("svg") == 2 + len(GAINS) + 1 + 1


@pytest.mark.parametrize("gains", [np.zeros(9), np.asarray([0.5]), np.asarray([-1.0, -2.0])])
def test_unusual_gains_are_plotted(gains: np.ndarray[Any, Any]) -> None:
    lower = METRICS | {"higher_is_better": False, "metric": "mse"}
    assert "lower is better" in render_report(lower, [], {1: gains}, {})
