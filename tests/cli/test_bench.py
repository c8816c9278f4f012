"""`tegu bench start`: the form of what it prints. Times are never asserted."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from tests.cli.conftest import Said

from tegu.bench.pairs import Comparison, as_rows

Run = Callable[..., Said]
KEYS = ["work", "peer", "measure", "ratio", "ratio_min", "ratio_max", "pairs", "tegu", "other", "unit"]


def test_rows_are_medians_and_the_spread_pair_by_pair() -> None:
    comparison = Comparison("w", "torch", "time", "s", [1.0, 2.0, 4.0], [4.0, 4.0, 40.0])
    (row,) = as_rows([comparison])
    assert list(row) == KEYS
    assert row == {
        "work": "w", "peer": "torch", "measure": "time", "unit": "s", "pairs": 3,
        "tegu": 2.0, "other": 4.0, "ratio": 4.0, "ratio_min": 2.0, "ratio_max": 10.0,
    }  # fmt: skip
    assert comparison.texts() == ["w", "time", "2 s", "torch", "4 s", "0.250", "4.0", "2.0 - 10.0", "3"]


@pytest.mark.slow
def test_start_gives_the_documented_rows(tegu: Run) -> None:
    said = tegu("bench", "start", "--pairs", 1, "--json")
    assert said.code == 0, said.err
    table, last = said.out.splitlines()[:-1], said.out.splitlines()[-1]
    result = json.loads(last)
    assert result["bench"] == "start"
    assert [list(row) for row in result["rows"]] == [KEYS, KEYS]
    assert [(row["work"], row["peer"], row["measure"], row["unit"], row["pairs"]) for row in result["rows"]] == [
        ("start", "torch", "time", "s", 1),
        ("start", "torch", "memory", "MiB", 1),
    ]
    assert all(row[name] > 0 for row in result["rows"] for name in ("tegu", "other", "ratio"))
    assert [line.split("|")[2].strip() for line in table if line.startswith("| start")] == ["time", "memory"]
    assert "pair 1 of 1" in said.err
    assert "pair" not in said.out.replace("pairs", "")
