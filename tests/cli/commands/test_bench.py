"""`tegu bench start`: the form of what it prints. Times are never asserted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tegu.bench.harness.comparison import Comparison, json_rows
from tests.cli.conftest import CommandResult

Run = Callable[..., CommandResult]
KEYS = ["work", "peer", "measure", "ratio", "ratio_min", "ratio_max", "pairs", "tegu", "other", "unit"]


def test_rows_are_medians_and_the_spread_pair_by_pair() -> None:
    comparison = Comparison("w", "torch", "time", "s", [1.0, 2.0, 4.0], [4.0, 4.0, 40.0])
    (row,) = json_rows([comparison])
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


@pytest.fixture
def no_peers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """None of the peers is installed, here or in the cache."""
    monkeypatch.setattr("tegu.bench.harness.environment._found", lambda module: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.usefixtures("no_peers")
@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("simulate", {"pfl": "tegu[bench]", "flower-ray": "tegu[sim]", "jax-vmap": "tegu[bench]"}),
        ("device", {"ort-training": "--no-install", "torch": "tegu[torch]"}),
    ],
)
def test_missing_peers_are_named_and_left_out(tegu: Run, tmp_path: Path, name: str, missing: dict[str, str]) -> None:
    out = tmp_path / "result.html"
    said = tegu("bench", name, "--no-install", "--out", out, "--json")
    assert said.code == 0, said.err
    assert json.loads(said.out.splitlines()[-1]) == {"bench": name, "rows": []}
    lines = said.err.splitlines()
    assert len(lines) == len(missing)
    for line, (peer, remedy) in zip(lines, missing.items(), strict=True):
        assert line.startswith(f"{peer} is missing: ")
        assert remedy in line
    assert json.loads((tmp_path / "result.json").read_text()) == {"bench": name, "rows": []}
    assert out.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("simulate", "--work", "W9"), "no work is called 'W9'"),
        (("device", "--peer", "torsh"), "no peer is called 'torsh'. Did you mean 'torch'?"),
        (("start", "--out", "x.png"), "out is x.png: expected a name that ends in .svg or .html"),
    ],
)
def test_misuse_ends_with_one_line(tegu: Run, arguments: tuple[str, ...], text: str) -> None:
    said = tegu("bench", *arguments)
    assert said.code == 1
    assert text in said.err
    assert len(said.err.splitlines()) == 1


def test_small_figures_keep_their_digits() -> None:
    (row,) = json_rows([Comparison("mlp", "torch", "time", "s", [0.000123456], [0.00123456])])
    assert (row["tegu"], row["other"]) == (0.0001235, 0.001235)
