"""The soak: its short form, and how it counts."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tegu.bench.soak.faults import GENTLE
from tegu.bench.soak.replies import Account
from tegu.bench.soak.report import Memory, Soaked, quarters

MEMORY = [Memory(float(second), 100 + second // 25, 200, 0) for second in range(100)]


REPLIES = Account(counted=6, refused=1, declined=2)


def soaked(*rounds: int, **changes: Any) -> Soaked:
    log = [{"round": number} for number in rounds]
    return Soaked(2, log, ["a", "b", "a"], 0, REPLIES, MEMORY, 99.0, completed=True)._replace(**changes)


def test_what_is_complete_has_lost_nothing() -> None:
    found = soaked(1, 2)
    assert found.lost_nothing
    assert (found.lost_rounds, found.survived) == (0, 3)
    lines = "\n".join(found.lines())
    assert "rounds 2, lost 0; interactions lost 0; 99 s" in lines
    assert "faults injected 3 (2 a, 1 b), survived 3" in lines
    assert "replies sent 9: 6 counted, 1 refused by the server, 2 declined by devices, 0 late" in lines


@pytest.mark.parametrize(
    ("found", "rounds", "survived"),
    [
        (soaked(1), 1, 0),
        (soaked(1, 1, 2), 1, 0),
        (soaked(1, 2, completed=False), 0, 0),
        (soaked(1, 2, lost_interactions=1), 0, 3),
        (soaked(1, 2, replies=REPLIES._replace(unaccounted=1)), 0, 3),
    ],
)
def test_what_is_lost_is_counted(found: Soaked, rounds: int, survived: int) -> None:
    assert not found.lost_nothing
    assert (found.lost_rounds, found.survived) == (rounds, survived)


def test_memory_that_grows_by_more_than_a_twentieth_is_not_flat() -> None:
    steps = [Memory(float(second), 1, 1_000_000 * (100 + second // 25), 0) for second in range(100)]
    assert soaked(1, 2, memory=steps).is_flat
    steps = [Memory(float(second), 1, 1_000_000 * (100 + second // 5), 0) for second in range(100)]
    found = soaked(1, 2, memory=steps)
    assert not found.is_flat
    assert found.growth == pytest.approx({"participants": 0.0, "superlink": 10 / 107, "serverapp": 0.0}, abs=0.01)


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
    assert (found["rounds_lost"], found["interactions_lost"]) == (0, 0)
    replies = found["replies"]
    assert (replies["unaccounted"], replies["invented"], replies["spoiled"]) == (0, 0, 0)
    assert min(replies["counted"], replies["refused"], replies["declined"] + replies["late"]) >= 1
    assert set(found["faults"]) <= set(GENTLE)
    assert len(found["faults"]) >= 2
    assert found["faults_survived"] == sum(found["faults"].values())
    assert found["seconds"] < 180
