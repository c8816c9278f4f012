"""`tegu bench learners`: one process a learner, results that are kept, a table and a plot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tegu.bench.learners import bench
from tegu.bench.learners.bench import bench_learners, names_for
from tegu.bench.learners.figure import learner_rows, learners_svg, refusals
from tegu.bench.learners.tasks import TASKS, Request, build_task
from tegu.core.errors import DataError, RuntimeFailure, UnknownNameError
from tegu.learners.catalogue import LEARNERS


def measured(learner: str, task: str = "sine") -> dict[str, Any]:
    shots = [
        {
            "k": k,
            "users": 9,
            "initialisation": 3.0,
            "personalised": 2.0 / k,
            "low": 1.0 / k,
            "high": 2.5 / k,
            "hurt": 0.1 / k,
        }
        for k in TASKS[task]
    ]
    return {
        "task": task,
        "learner": learner,
        "seed": 0,
        "rounds": 4,
        "metric": "rmse",
        "shots": shots,
        "adapt_ms": 0.123,
        "bundle_bytes": 45678,
        "memory_mib": 301.5,
        "update_bytes": 17000.0,
        "train_seconds": 12.3,
    }


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the learners whose process was started. snail's process fails, and r2d2 refuses the task."""
    names: list[str] = []

    class Done:
        returncode = 0

    def run(command: Sequence[str], check: bool) -> Done:
        assert not check
        request, path = json.loads(command[3]), Path(command[4])
        names.append(request["learner"])
        done = Done()
        if request["learner"] == "snail":
            done.returncode = 3
        elif request["learner"] == "r2d2":
            path.write_text(json.dumps({"task": "sine", "learner": "r2d2", "seed": 0, "refused": "not for this"}))
        else:
            path.write_text(json.dumps(measured(request["learner"])))
        return done

    monkeypatch.setattr(bench.subprocess, "run", run)
    return names


def test_a_stopped_run_goes_on_and_failures_are_left_out(tmp_path: Path, started: list[str]) -> None:
    lines: list[str] = []
    learners = ["reptile", "r2d2", "snail"]
    first = bench_learners(tmp_path, lines.append, tasks=["sine"], learners=learners)
    assert started == learners
    assert [each["learner"] for each in first] == ["reptile", "r2d2"]
    assert any("snail on sine: failed with exit code 3" in line for line in lines)
    again = bench_learners(tmp_path, lines.append, tasks=["sine"], learners=learners)
    assert again == first
    assert started == [*learners, "snail"], "only what is missing is measured again"
    with pytest.raises(RuntimeFailure, match="none of 1"):
        bench_learners(tmp_path, lines.append, tasks=["sine"], learners=["snail"])


def test_names_are_checked_and_omniglot_needs_data(tmp_path: Path) -> None:
    assert set(names_for("sine")) == set(LEARNERS)
    assert set(names_for("movielens")) == {*LEARNERS, "implicit_als"}
    with pytest.raises(UnknownNameError, match="learner"):
        names_for("sine", ["reptil"])
    with pytest.raises(UnknownNameError, match="task"):
        bench_learners(tmp_path, print, tasks=["sines"])
    with pytest.raises(DataError, match="--data DIR"):
        bench_learners(tmp_path, print, tasks=["omniglot"])


def test_the_table_and_the_plot_show_what_was_measured() -> None:
    results = [measured("reptile"), {"task": "sine", "learner": "r2d2", "refused": "not for this"}]
    header, row = learner_rows(results)
    cells = dict(zip(header, row, strict=True))
    assert cells["1 shot"] == "2.000 [1.000, 2.500]"
    assert cells["5 shots"] == "0.400 [0.200, 0.500]"
    assert (cells["hurt"], cells["adapt"], cells["bundle"]) == ("10.0%", "0.12 ms", "46 KB")
    assert cells["negative log-likelihood"] == ""
    for shot in (bayesian := measured("platipus"))["shots"]:
        shot["uncertainty"] = {"members": {"nll": shot["k"] + 0.25, "coverage": 0.875}}
    cells = dict(zip(*learner_rows([bayesian]), strict=True))
    assert cells["negative log-likelihood"] == "5.25 nats, 88% covered"
    assert refusals(results) == ["r2d2 on sine: not for this"]
    assert "reptile" in learners_svg(results)


def test_what_is_trained_is_what_was_named() -> None:
    experiment = build_task(Request("sine", "reptile", rounds=2))
    assert experiment.learner.name == "reptile"
    assert experiment.ks == (1, 5)
    with pytest.raises(DataError, match="use r2d2"):
        build_task(Request("sine", "prototypical_networks"))


@pytest.mark.slow
def test_a_learner_is_measured_in_a_process_of_its_own(tmp_path: Path) -> None:
    (found,) = bench_learners(tmp_path, print, tasks=["sine"], learners=["reptile"], rounds=2)
    assert [shot["k"] for shot in found["shots"]] == [1, 5]
    assert found["learner"] == "reptile"
    for shot in found["shots"]:
        assert shot["low"] < shot["personalised"] < shot["high"]
    assert found["bundle_bytes"] > 10_000
    assert found["memory_mib"] > 50
    assert 0 < found["adapt_ms"] < 1000
    assert found["update_bytes"] > 4 * 4000, "sine's network has 4,417 numbers"
