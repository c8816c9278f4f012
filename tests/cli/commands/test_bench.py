"""`tegu bench`: the form of its output. No test asserts a timing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import CommandResult

from tegu.bench.harness.comparison import Comparison, json_rows

Run = Callable[..., CommandResult]
KEYS = ["task", "peer", "measure", "ratio", "ratio_min", "ratio_max", "pairs", "tegu", "other", "unit"]


def test_rows_have_medians_and_the_range_of_ratios() -> None:
    comparison = Comparison("w", "torch", "time", "s", [1.0, 2.0, 4.0], [4.0, 4.0, 40.0])
    (row,) = json_rows([comparison])
    assert list(row) == KEYS
    assert row == {
        "task": "w", "peer": "torch", "measure": "time", "unit": "s", "pairs": 3,
        "tegu": 2.0, "other": 4.0, "ratio": 4.0, "ratio_min": 2.0, "ratio_max": 10.0,
    }  # fmt: skip
    assert comparison.table_cells() == ["w", "time", "2 s", "torch", "4 s", "0.250", "4.0", "2.0 - 10.0", "3"]


@pytest.mark.slow
def test_start_prints_the_documented_rows(tegu: Run) -> None:
    result = tegu("bench", "start", "--pairs", 1, "--json")
    assert result.code == 0, result.err
    table, last = result.out.splitlines()[:-1], result.out.splitlines()[-1]
    printed = json.loads(last)
    assert printed["bench"] == "start"
    assert [list(row) for row in printed["rows"]] == [KEYS, KEYS]
    assert [(row["task"], row["peer"], row["measure"], row["unit"], row["pairs"]) for row in printed["rows"]] == [
        ("start", "torch", "time", "s", 1),
        ("start", "torch", "memory", "MiB", 1),
    ]
    assert all(row[name] > 0 for row in printed["rows"] for name in ("tegu", "other", "ratio"))
    assert [line.split("|")[2].strip() for line in table if line.startswith("| start")] == ["time", "memory"]
    assert "pair 1 of 1" in result.err
    assert "pair" not in result.out.replace("pairs", "")


@pytest.fixture
def no_peers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """None of the peers is installed, here or in the cache."""
    monkeypatch.setattr("tegu.bench.harness.environment._is_installed", lambda module: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.usefixtures("no_peers")
@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("simulate", {"pfl": "tegu[bench]", "flower-ray": "tegu[sim]", "jax-vmap": "tegu[bench]"}),
        ("device", {"ort-training": "--no-install", "torch": "tegu[torch]"}),
    ],
)
def test_missing_peers_are_reported_and_left_out(tegu: Run, tmp_path: Path, name: str, missing: dict[str, str]) -> None:
    out = tmp_path / "result.html"
    result = tegu("bench", name, "--no-install", "--out", out, "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out.splitlines()[-1]) == {"bench": name, "rows": []}
    lines = result.err.splitlines()
    assert len(lines) == len(missing)
    for line, (peer, remedy) in zip(lines, missing.items(), strict=True):
        assert line.startswith(f"{peer} is missing: ")
        assert remedy in line
    assert json.loads((tmp_path / "result.json").read_text()) == {"bench": name, "rows": []}
    assert out.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("simulate", "--task", "W9"), "no task is called 'W9'"),
        (("device", "--peer", "torsh"), "no peer is called 'torsh'. Did you mean 'torch'?"),
        (("start", "--out", "x.png"), "out is x.png: expected a name that ends in .svg or .html"),
    ],
)
def test_invalid_options_end_with_one_line(tegu: Run, arguments: tuple[str, ...], text: str) -> None:
    result = tegu("bench", *arguments)
    assert result.code == 1
    assert text in result.err
    assert len(result.err.splitlines()) == 1


def test_small_values_keep_their_digits() -> None:
    (row,) = json_rows([Comparison("mlp", "torch", "time", "s", [0.000123456], [0.00123456])])
    assert (row["tegu"], row["other"]) == (0.0001235, 0.001235)
