"""Figures of rounds for TensorBoard, read back with TensorBoard's own reader, and for MLflow."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from tests.server.serving.test_follow import ROUND

from tegu.core.errors import MissingExtraError
from tegu.server.serving.server import Server
from tegu.server.serving.trackers import figures_of, tracking


def server_of(**options: Any) -> Server:
    """A server of which trackers read these fields alone."""
    found = object.__new__(Server)
    for name, value in {"tensorboard": None, "mlflow": "", **options}.items():
        object.__setattr__(found, name, value)
    return found


def test_the_figures_of_a_round() -> None:
    assert figures_of({**ROUND, "epsilon": 2.5}) == {
        "users": 56.0, "seconds": 4.25, "epsilon": 2.5, "nodes": 2.0, "failed": float(len(ROUND["failed"])),
        "refused": 1.0, "late": float(len(ROUND["late"])), "initialisation": 0.5, "personalised": 0.25,
    }  # fmt: skip
    assert figures_of({"event": "start", "done": 0, "rounds": 3}) == {}
    assert "personalised" not in figures_of({**ROUND, "validation": None})


def test_tensorboard_reads_them_after_a_restart_too(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for number in (1, 2):
        with tracking(server_of(tensorboard=tmp_path), print) as track:
            track({"event": "start", "done": 0, "rounds": 3})
            track({**ROUND, "fold": None, "round": number, "users": 10 * number})
    read = EventAccumulator(str(tmp_path)).Reload()
    assert [(each.step, each.value) for each in read.Scalars("users")] == [(1, 10.0), (2, 20.0)]
    assert read.Scalars("personalised")[0].value == 0.25


def test_nothing_is_written_where_nothing_is_named() -> None:
    with tracking(server_of(), print) as track:
        track(ROUND)


def test_a_program_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    named = server_of(mlflow="http://127.0.0.1:9", state=tmp_path)
    message = r"mlflow is not installed: pip install 'tegu\[tracking\]'"
    with pytest.raises(MissingExtraError, match=message), tracking(named, print):
        pass
