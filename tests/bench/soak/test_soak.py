"""The soak: its short form, and how it counts."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tegu.bench.soak.faults import GENTLE
from tegu.bench.soak.report import Memory, Soaked, quarters

MEMORY = [Memory(float(second), 100 + second // 25, 200, 0) for second in range(100)]


def entry(number: int, nodes: int = 3, refused: int = 1, late: int = 0) -> dict[str, Any]:
    return {"round": number, "nodes": ["n"] * nodes, "refused": [], "failed": [{}] * refused, "late": ["n"] * late}


def soaked(*log: dict[str, Any], lost: int = 0, completed: bool = True) -> Soaked:
    return Soaked(2, log, 3, ["a", "b", "a"], lost, 2, MEMORY, 99.0, completed)


def test_what_is_complete_has_lost_nothing() -> None:
    found = soaked(entry(1), entry(2))
    assert (found.lost_rounds, found.unaccounted, found.refused, found.survived) == (0, 0, 2, 3)
    lines = "\n".join(found.lines())
    assert "rounds 2, lost 0; interactions lost 0; 99 s" in lines
    assert "faults injected 3 (2 a, 1 b), survived 3" in lines


@pytest.mark.parametrize(
    ("found", "rounds", "unaccounted", "survived"),
    [
        (soaked(entry(1)), 1, 0, 0),
        (soaked(entry(1), entry(1), entry(2)), 1, 1, 0),
        (soaked(entry(1, nodes=2), entry(2, late=1)), 0, 1, 3),
        (soaked(entry(1, refused=0), entry(2)), 0, 0, 3),
        (soaked(entry(1, refused=2), entry(2)), 0, 1, 3),
        (soaked(entry(1, nodes=2, late=1), entry(2)), 0, 0, 3),
        (soaked(completed=False), 2, 0, 0),
    ],
)
def test_what_is_lost_is_counted(found: Soaked, rounds: int, unaccounted: int, survived: int) -> None:
    assert (found.lost_rounds, found.unaccounted, found.survived) == (rounds, unaccounted, survived)


def test_memory_is_by_quarter() -> None:
    memory = [memory._replace(participants=memory.participants * 1_000_000) for memory in MEMORY]
    assert quarters(memory, "participants") == [100.0, 101.0, 102.0, 103.0]
    assert quarters(memory, "serverapp") == [0.0] * 4
    assert quarters([], "superlink") == [0.0] * 4


@pytest.mark.slow
@pytest.mark.xdist_group("superlink")
def test_a_short_soak_loses_nothing() -> None:
    command = [sys.executable, "-m", "tegu.cli.main", "bench", "soak", "--short", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-5000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["rounds_lost"], found["interactions_lost"], found["unaccounted"]) == (0, 0, 0)
    assert set(found["faults"]) <= set(GENTLE)
    assert len(found["faults"]) >= 2
    assert found["faults_survived"] == sum(found["faults"].values())
    assert 0 < found["refused"] <= found["refused_by_devices"]
    assert found["seconds"] < 180
