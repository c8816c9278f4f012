"""Progress: few lines in a log, one that changes in a notebook, none where it is silent."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from tests.sim import people

from tegu.server.progress import SILENT, RoundProgress
from tegu.sim import simulate
from tegu.sim.reporting import progress as shown
from tegu.sim.reporting.progress import show_progress


class Clock:
    """A clock that moves on by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def rounds(lines: shown._Lines | shown._ChangingLine, clock: Clock, each: float, total: int, first: int = 1) -> None:
    for number in range(first, total + 1):
        clock.now += each
        seconds = (number - first + 1) * each
        lines.round(RoundProgress(number, total, 5, 5 * (number - first + 1), seconds, {}))


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


def test_a_log_has_a_line_for_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = shown._Lines("accuracy", clock)
    lines.stage("reptile: compiling")
    rounds(lines, clock, 0.5, 100)
    found = printed(capsys)
    assert found[0] == "reptile: compiling"
    assert [line.split()[1] for line in found[1:]] == [f"{number}/100" for number in range(10, 101, 10)]
    assert found[1] == "reptile: 10/100 rounds · 10 users/s · 0:00:45 left"
    assert found[-1] == "reptile: 100/100 rounds · 10 users/s"


def test_quick_rounds_have_no_line_and_slow_ones_one_in_thirty_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = shown._Lines("accuracy", clock)
    rounds(lines, clock, 0.001, 100)
    assert printed(capsys) == []
    lines.stage("slow")
    rounds(lines, clock, 12.0, 20)
    numbers = [int(line.split()[1].split("/")[0]) for line in printed(capsys)[1:]]
    assert numbers == list(range(2, 21, 2)), "a tenth is two rounds"
    lines.stage("slower")
    rounds(lines, clock, 12.0, 100)
    assert len(printed(capsys)) == 1 + 40


def test_the_time_left_of_a_resumed_stage_follows_its_own_rounds(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = shown._Lines("accuracy", clock)
    lines.stage("reptile")
    rounds(lines, clock, 40.0, 100, first=91)
    assert printed(capsys)[1].endswith("· 0:06:00 left")


def test_a_notebook_has_one_line_that_changes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    with show_progress("accuracy") as progress:
        progress.stage("reptile: 3 rounds")
        for number in (1, 2, 3):
            progress.round(RoundProgress(number, 3, 5, 5 * number, float(number), {}))
    out, err = capsys.readouterr()
    assert out == ""
    stage, line = err.splitlines()[0], err.split("\n")[1]
    assert stage == "reptile: 3 rounds"
    assert line.split("\r")[-1].rstrip() == "reptile: 3/3 rounds · 5 users/s"
    assert err.endswith("\n")


Simulate = Callable[..., object]


def test_simulate_shows_its_stage_unless_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with people.compiled_once():
        simulate(people.people(), people.learner(), plan=people.plan(1))
        assert "reptile: compiling graphs, then 1 rounds" in printed(capsys)
        simulate(people.people(), people.learner(), plan=people.plan(1), progress=SILENT)
        assert not any("compiling" in line for line in printed(capsys))
