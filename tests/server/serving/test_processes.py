"""Processes come back, with back-off, and none is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from tests.core.samples import refused

from tegu.core.errors import FederationError
from tegu.server.deployment.process_tree import MARK_VARIABLE
from tegu.server.serving import processes
from tegu.server.serving.processes import Respawned, back_off, own_folder, service_environment

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]


def test_back_off_doubles_up_to_a_minute() -> None:
    waits = [back_off(failures, 0.5) for failures in range(1, 12)]
    assert waits[:4] == [1, 2, 4, 8]
    assert all(a <= b for a, b in pairwise(waits))
    assert waits[-1] == 60
    assert (back_off(2, 0.0), back_off(2, 1.0)) == (1, 3)
    assert back_off(10**6, 0.5) == 60


def tend_until(process: Respawned, reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not reached():
        process.tend()
        assert time.monotonic() < deadline, process.said()
        time.sleep(0.02)


def test_a_killed_process_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_FIRST_SECONDS", 0.05)
    ended: list[tuple[int, float]] = []
    with own_folder(tmp_path, "it") as mark:
        environment = {**os.environ, MARK_VARIABLE: mark}
        made = Respawned("it", lambda: SLEEP, tmp_path / "it.log", environment, lambda *how: ended.append(how))
        with closing(made) as process:
            tend_until(process, lambda: "up" in process.said())
            first = process.pid
            assert first is not None
            os.kill(first, signal.SIGKILL)
            tend_until(process, lambda: process.pid not in (first, None) and "up" in process.said())
            second = process.pid
        assert [code for code, _ in ended] == [-signal.SIGKILL]
        assert (tmp_path / "it.log").read_text().count("up") == 2, "the log is kept"
    assert second is not None
    assert not psutil.pid_exists(second)


def test_a_long_log_is_shortened_while_the_process_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_MOST_LOG_BYTES", 1000)
    talk = [sys.executable, "-c", "import time\nwhile True: print('x' * 99, flush=True); time.sleep(0.01)"]
    with own_folder(tmp_path, "it") as mark:
        environment = {**os.environ, MARK_VARIABLE: mark}
        with closing(Respawned("it", lambda: talk, tmp_path / "it.log", environment, lambda *_: None)) as process:
            tend_until(process, (tmp_path / "it.log.1").exists)
            first = process.pid
            tend_until(process, lambda: 0 < (tmp_path / "it.log").stat().st_size < 1000)
            assert process.pid == first


def test_a_folder_has_one_holder(tmp_path: Path) -> None:
    with own_folder(tmp_path, "a server"), refused(FederationError, "a server is running already", str(tmp_path)):
        own_folder(tmp_path, "a server").__enter__()
    with own_folder(tmp_path, "a server"):
        assert tmp_path.stat().st_mode & 0o077 == 0


def test_what_a_killed_holder_left_is_ended(tmp_path: Path) -> None:
    with own_folder(tmp_path, "it") as mark:
        pass
    left = subprocess.Popen(SLEEP, env={**os.environ, MARK_VARIABLE: mark}, stdout=subprocess.PIPE)
    assert left.stdout is not None
    with left:
        left.stdout.readline()
        with own_folder(tmp_path, "it") as again:
            assert again == mark
            assert left.wait(10) == -signal.SIGTERM


def test_a_node_reaches_a_far_server_by_its_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:1")
    monkeypatch.setenv("no_proxy", "own.example")
    assert "https_proxy" not in service_environment(tmp_path, "m")
    found = service_environment(tmp_path, "m", proxies=True)
    assert found["https_proxy"] == "http://proxy.example:1"
    assert found["NO_PROXY"].split(",") == ["own.example", "127.0.0.1", "localhost"]


def test_the_environment_of_a_long_run(tmp_path: Path) -> None:
    environment = service_environment(tmp_path, "m")
    assert environment["FLWR_HOME"] == str(tmp_path / "flwr")
    assert environment["FLWR_TELEMETRY_ENABLED"] == "0"
    assert float(environment["FLWR_SUPEREXEC_TASK_POLL_INTERVAL"]) >= 0.5
